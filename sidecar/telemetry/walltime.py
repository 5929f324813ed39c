"""Wall time for people: RFC 3339 in UTC with milliseconds, from Unix or monotonic time.

In:      Unix nanoseconds, or a moment in monotonic seconds.
Out:     `2026-01-31T12:00:00.123Z`.
Cost:    what a second, and a millisecond, are written as is made once; of a busy sidecar many lines share both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_SECOND: Final = 1_000_000_000
_MILLISECOND: Final = 1_000_000


class WallTime:
    def __init__(
        self,
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._second = -1
        self._prefix = b""
        self._millisecond = -1
        self._written = b""

    def text(self, unix_ns: int) -> str:
        return self.ascii(unix_ns).decode("ascii")

    def ascii(self, unix_ns: int) -> bytes:
        millisecond = unix_ns // _MILLISECOND
        if millisecond != self._millisecond:
            self._millisecond, self._written = millisecond, self._write(millisecond)
        return self._written

    def _write(self, millisecond: int) -> bytes:
        second, rest = millisecond // 1000, millisecond % 1000
        if second != self._second:
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second)).encode("ascii")
            self._second = second
        zeros = b"" if rest >= 100 else b"0" if rest >= 10 else b"00"
        return b"%b%b%dZ" % (self._prefix, zeros, rest)

    def now(self) -> str:
        return self.text(self._wall())

    def at(self, moment: float) -> str:
        """Of a monotonic moment, past or to come."""
        return self.text(self._wall() + round((moment - self._monotonic()) * _SECOND))
