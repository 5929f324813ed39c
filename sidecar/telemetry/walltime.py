"""Wall time for people: RFC 3339 in UTC with milliseconds, from Unix or monotonic time.

In:      Unix nanoseconds, or a moment in monotonic seconds.
Out:     `2026-01-31T12:00:00.123Z`.
Cost:    the text of a second is made once; a line within the same second adds its milliseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_SECOND: Final = 1_000_000_000


class WallTime:
    def __init__(
        self,
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._second = -1
        self._prefix = ""

    def text(self, unix_ns: int) -> str:
        second, rest = unix_ns // _SECOND, unix_ns % _SECOND
        if second != self._second:
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
            self._second = second
        milliseconds = rest // 1_000_000
        zeros = "" if milliseconds >= 100 else "0" if milliseconds >= 10 else "00"
        return f"{self._prefix}{zeros}{milliseconds}Z"

    def now(self) -> str:
        return self.text(self._wall())

    def at(self, moment: float) -> str:
        """Of a monotonic moment, past or to come."""
        return self.text(self._wall() + round((moment - self._monotonic()) * _SECOND))
