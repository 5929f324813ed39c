"""Wakes the ledger at its next deadline.

In:      `rearm()` after whatever may have moved the deadline; cheap when it did not move earlier.
Out:     the ledger's events, to `emit`.
Clock:   uvloop's timers have a grain of 1 ms and may fire up to 0.9 ms early. The timer is armed a tick
         late and the ledger told the later of deadline and clock, so it is never asked too early and the
         timer never spins. A deadline that moved later costs one wake-up with nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sidecar.health.events import HealthEvent
from sidecar.health.ledger import Ledger

TICK = 0.001


class Timer(Protocol):
    def cancel(self) -> None: ...


class Timers(Protocol):
    """What is used of an event loop."""

    def time(self) -> float: ...

    def call_at(self, when: float, callback: Callable[[float], object], deadline: float, /) -> Timer: ...


class Waker:
    """Holds at most one timer."""

    def __init__(self, ledger: Ledger, emit: Callable[[Sequence[HealthEvent]], None], loop: Timers) -> None:
        self._ledger = ledger
        self._emit = emit
        self._loop = loop
        self._armed: float | None = None
        self._timer: Timer | None = None

    def rearm(self) -> None:
        """Makes sure that the timer fires no later than the ledger's next deadline."""
        deadline = self._ledger.next_deadline()
        if deadline is None or (self._armed is not None and self._armed <= deadline):
            return
        self.stop()
        self._armed = deadline
        self._timer = self._loop.call_at(deadline + TICK, self._wake, deadline)

    def stop(self) -> None:
        """Fires no more, unless it is armed again."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._armed = None

    def _wake(self, deadline: float) -> None:
        self._timer = self._armed = None
        events = self._ledger.advance(max(deadline, self._loop.time()))
        self.rearm()
        if events:
            self._emit(events)
