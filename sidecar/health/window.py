"""A sliding count of attempts and failures: a ring of buckets, rolled forward by the `now` of each call.

In:      one outcome per finished attempt, with the time it finished.
Out:     `requests` and `failures` of the window as of the last call.
Units:   seconds, monotonic; a `now` before an earlier one counts as that earlier one.
Limits:  the ring turns in steps of a tenth of the window, so it spans between 0.9 and 1.0 of it.
"""

from __future__ import annotations

from typing import Final

# Ten steps: an old failure is forgotten at most a tenth of the window early, and a roll stays cheap.
STEPS: Final = 10


class Window:
    """Counts over the trailing `length` seconds."""

    __slots__ = ("_failures", "_requests", "_step", "_width", "failures", "length", "requests")

    def __init__(self, length: float) -> None:
        self.length = length
        self._width = length / STEPS
        self.clear()

    def clear(self) -> None:
        self._step = -1
        self._requests = [0] * STEPS
        self._failures = [0] * STEPS
        self.requests = 0
        self.failures = 0

    def add(self, *, failed: bool, now: float) -> None:
        if int(now / self._width) > self._step:
            self.roll(now)
        slot = self._step % STEPS
        self._requests[slot] += 1
        self.requests += 1
        if failed:
            self._failures[slot] += 1
            self.failures += 1

    def roll(self, now: float) -> None:
        """Forgets what is older than the window."""
        step = int(now / self._width)
        if step <= self._step:
            return
        if self.requests:
            for old in range(max(self._step + 1, step - STEPS + 1), step + 1):
                slot = old % STEPS
                self.requests -= self._requests[slot]
                self.failures -= self._failures[slot]
                self._requests[slot] = self._failures[slot] = 0
        self._step = step

    @property
    def failure_percentage(self) -> float:
        return 100.0 * self.failures / self.requests if self.requests else 0.0
