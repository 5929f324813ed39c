"""Deadlines of one length, all served by one timer.

In:      waiters, each with the moment it began to wait.
Out:     `on_due(waiter, now)` for each whose time is up; never early, and less than two of the loop's ticks late.
Why:     a `call_later` per request costs microseconds and a heap entry; as all deadlines of one queue have the
         same length, the order in which they are set is that in which they are due, and a chain is all that is needed.
         (A dict that is filled at one end and emptied at the other is rehashed all the time.)
Rule:    a deadline knows its waiter, so a waiter lets go of its deadlines at its end: else both wait for the collector.
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


class Deadline(Generic[T]):
    """Of one waiter in one queue, set or not."""

    __slots__ = ("after", "at", "before", "is_set", "queue", "waiter")

    def __init__(self, queue: DeadlineQueue[T], waiter: T) -> None:
        self.queue = queue
        self.waiter = waiter
        self.at = 0.0
        self.is_set = False
        self.before: Deadline[T] | None = None  # in the queue's chain
        self.after: Deadline[T] | None = None

    def set(self, now: float) -> None:
        """Starts the waiter's time, or starts it anew."""
        queue = self.queue
        if self.is_set:
            queue.unlink(self)
        self.at = now + queue.length
        queue.link(self, now)

    def clear(self) -> None:
        """The waiter needs none any more. The timer is left to find an empty queue: cheaper."""
        if self.is_set:
            self.queue.unlink(self)


class DeadlineQueue(Generic[T]):
    """Waiters that all wait `length` seconds."""

    __slots__ = ("_clock", "_count", "_first", "_handle", "_last", "_loop", "_on_due", "length")

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
        self._first: Deadline[T] | None = None
        self._last: Deadline[T] | None = None
        self._count = 0
        self._handle: asyncio.TimerHandle | None = None

    def add(self, waiter: T, now: float) -> Deadline[T]:
        """Starts the waiter's time."""
        deadline = Deadline(self, waiter)
        deadline.at = now + self.length
        self.link(deadline, now)
        return deadline

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Ends the timer of a queue that nobody waits in and nobody will."""
        assert not self._count
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None  # whoever still holds the queue may use it

    # For its deadlines

    def link(self, deadline: Deadline[T], now: float) -> None:
        """Behind all others: it is due last."""
        last = self._last
        if last is None:
            self._first = deadline
            if self._handle is None:
                self._arm(deadline.at, now)
        else:  # the timer is set for one before it, or will be: inside on_due none stands
            last.after, deadline.before = deadline, last
        self._last = deadline
        deadline.is_set = True
        self._count += 1

    def unlink(self, deadline: Deadline[T]) -> None:
        before, after = deadline.before, deadline.after
        if before is None:
            self._first = after
        else:
            before.after = after
        if after is None:
            self._last = before
        else:
            after.before = before
        deadline.before = deadline.after = None
        deadline.is_set = False
        self._count -= 1

    # The timer

    def _fire(self) -> None:
        self._handle = None
        now = self._clock()
        try:
            while (first := self._first) is not None and first.at <= now:
                self.unlink(first)
                self._on_due(first.waiter, now)
        finally:  # one that raises takes nobody else's deadline with it
            self._arm_again(now)

    def _arm_again(self, now: float) -> None:
        first = self._first
        if first is not None and self._handle is None:  # on_due may have set one and armed already
            self._arm(first.at, now)

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
