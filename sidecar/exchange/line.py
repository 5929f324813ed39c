"""The waiting line of a service: requests over its limits that wait for a place, first come, first served.

In:      requests that stand in it until a moment of their own; word that an attempt on the service has ended.
Out:     to each request: `in_turn(now)`, which says whether it has found a place; else, at its end,
         `waited_enough(now)`. How many wait is told to the picker, so that nobody overtakes them.
Timing:  places also come free by time alone (an adaptive limit recovers, an endpoint returns), so while somebody
         waits the line looks every LOOK seconds; a place that an attempt gives back is taken at once.
Limits:  max_requests is kept by the picker (`may_wait`). All of a line wait equally long, less what their own
         deadlines take off, so the dict is nearly in order of their ends and is looked through as a whole.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Protocol

LOOK = 0.02


class Waiter(Protocol):
    """A request, as its line sees it."""

    def in_turn(self, now: float) -> bool: ...

    def waited_enough(self, now: float) -> None: ...


class Counter(Protocol):
    """The picker of the service."""

    waiting: int


class Line:
    """Of one service under one policy."""

    __slots__ = ("_counter", "_loop", "_soon", "_timer", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, counter: Counter) -> None:
        self._loop = loop
        self._counter = counter
        self._waiting: dict[Waiter, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._soon = False

    def enter(self, waiter: Waiter, until: float) -> None:
        self._waiting[waiter] = until
        self._counter.waiting = len(self._waiting)
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK, self._look)

    def leave(self, waiter: Waiter) -> None:
        self._waiting.pop(waiter, None)
        self._counter.waiting = len(self._waiting)

    def place_given_back(self) -> None:
        """An attempt has ended. The next one begins when this one's request has come to rest."""
        if self._waiting and not self._soon:
            self._soon = True
            self._loop.call_soon(self._advance)

    def _advance(self) -> None:
        self._soon = False
        now = monotonic()
        while self._waiting:
            first = next(iter(self._waiting))
            if not first.in_turn(now):
                return
            self.leave(first)

    def _look(self) -> None:
        self._timer = None
        now = monotonic()
        for waiter, until in list(self._waiting.items()):
            if until <= now and waiter in self._waiting:
                self.leave(waiter)
                waiter.waited_enough(now)
        self._advance()
        if self._waiting and self._timer is None:
            self._timer = self._loop.call_later(LOOK, self._look)
