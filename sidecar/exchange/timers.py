"""Deadlines of one length, all served by one timer.

In:      waiters, each with the moment it began to wait.
Out:     `on_due(waiter, now)` for each whose time is up; never early, and less than two of the loop's ticks late.
Why:     a `call_later` per request costs microseconds and a heap entry; as all deadlines of one queue have the
         same length, insertion order is due order and a dict is the whole data structure.
Units:   monotonic seconds. The loop's clock is the same one, cut to whole milliseconds, but the wait for a timer is so
         many of them from where it begins, wherever within one that is. So the timer is set for the whole
         millisecond before the deadline: a loop that has waited since the request came is woken right behind the
         deadline. One that had other things to do may be woken before it; then the next millisecond is behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import floor
from time import monotonic
from typing import Final, Generic, TypeVar

T = TypeVar("T")
TICKS: Final = 1000.0  # of the loop's clock, a second


class DeadlineQueue(Generic[T]):
    """Waiters that all wait `length` seconds; a waiter is in the queue at most once."""

    __slots__ = ("_clock", "_handle", "_loop", "_on_due", "_waiting", "length")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        length: float,
        on_due: Callable[[T, float], None],
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.length = length
        self._loop = loop
        self._on_due = on_due
        self._clock = clock
        self._waiting: dict[T, float] = {}
        self._handle: asyncio.TimerHandle | None = None

    def add(self, waiter: T, now: float) -> None:
        """Starts the waiter's time, or starts it anew."""
        waiting = self._waiting
        if waiter in waiting:
            del waiting[waiter]
        waiting[waiter] = now + self.length
        if self._handle is None:
            self._arm(now + self.length, now)

    def discard(self, waiter: T) -> None:
        """The waiter needs no deadline any more. The timer is left to find an empty queue: cheaper."""
        self._waiting.pop(waiter, None)

    def __len__(self) -> int:
        return len(self._waiting)

    def close(self) -> None:
        """Ends the timer of a queue that nobody waits in and nobody will."""
        assert not self._waiting
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None  # whoever still holds the queue may use it

    def _fire(self) -> None:
        self._handle = None
        now = self._clock()
        waiting = self._waiting
        try:
            while waiting:
                waiter = next(iter(waiting))
                if waiting[waiter] > now:
                    break
                del waiting[waiter]
                self._on_due(waiter, now)
        finally:  # one that raises takes nobody else's deadline with it
            self._arm_again(now)

    def _arm_again(self, now: float) -> None:
        if self._waiting and self._handle is None:  # on_due may have added a waiter and armed already
            self._arm(next(iter(self._waiting.values())), now)

    def _arm(self, deadline: float, now: float) -> None:
        tick = max(floor(deadline * TICKS), floor(now * TICKS) + 1)  # never at once: that would spin
        self._handle = self._loop.call_at(tick / TICKS, self._fire)


class Deadlines(Generic[T]):
    """The queues of one purpose, one for each length in use."""

    __slots__ = ("_loop", "_on_due", "_queues")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_due: Callable[[T, float], None]) -> None:
        self._loop = loop
        self._on_due = on_due
        self._queues: dict[float, DeadlineQueue[T]] = {}

    def of(self, length: float) -> DeadlineQueue[T]:
        """The queue of this length. Empty ones are forgotten on the way: policies go, apps set what they like."""
        queue = self._queues.get(length)
        if queue is None:
            if len(self._queues) >= 64:
                self._forget_empty()
            queue = self._queues[length] = DeadlineQueue(self._loop, length, self._on_due)
        return queue

    def _forget_empty(self) -> None:
        for length, queue in list(self._queues.items()):
            if not len(queue):
                queue.close()
                del self._queues[length]
