"""Rests of the loop while many streams run, so that what comes is read in few turns.

In:      how many pieces of streams a turn has passed on, when it did nothing else.
Out:     sleep, until PACE after the last rest.
Limits:  only while more than OFTEN pieces a second come.
Units:   seconds.
Why:     two hundred streams wake the loop every 100 us, each time for one event, and being woken costs more than the
         event: see docs/adr/0009-rests-between-turns.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

PACE: Final = 0.0005
OFTEN: Final = 5000.0  # a second
WINDOW: Final = 0.01  # in which they are counted


class Pace:
    """Of one loop."""

    __slots__ = ("_busy", "_clock", "_pieces", "_rested", "_since", "_sleep")

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._rested = 0.0  # when the last rest ended, or none was needed
        self._since = 0.0  # pieces are counted
        self._pieces = 0
        self._busy = False  # in the last window they came often enough

    def passed_on(self, pieces: int) -> None:
        """Rests, if that spares the loop being woken. It blocks the loop, which is the point."""
        now = self._clock()
        self._pieces += pieces
        counted = now - self._since
        if counted >= WINDOW:
            self._busy = self._pieces > OFTEN * counted
            self._pieces = 0
            self._since = now
        if not self._busy:
            return
        missing = self._rested + PACE - now
        if missing > 0.0:
            self._sleep(missing)
            now = self._clock()
        self._rested = now
