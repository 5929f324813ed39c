"""Notices when an answer that has begun falls silent.

In:      `heard_at`, set at each packet; the length that is allowed between two.
Out:     `on_silence()`, once, at most about two clock ticks late and never early.
Units:   monotonic seconds.
Why:     a deadline that moves with every packet would cost as much as passing the packet on. So one timer stands per
         answer, and looks only when it rings whether there was a packet meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

TICK: Final = 0.001  # the loop's clock is cut to whole milliseconds: a timer set a tick late is never early


class Silence:
    """Of one answer."""

    __slots__ = ("_length", "_loop", "_on_silence", "_timer", "heard_at")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, length: float, on_silence: Callable[[], None], now: float
    ) -> None:
        self._loop = loop
        self._length = length
        self._on_silence = on_silence
        self.heard_at = now
        self._timer: asyncio.TimerHandle | None = loop.call_later(length + TICK, self._ring)

    def stop(self) -> None:
        """Until `go_on`, nobody is to speak."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def go_on(self, now: float) -> None:
        self.stop()
        self.heard_at = now
        self._timer = self._loop.call_later(self._length + TICK, self._ring)

    def _ring(self) -> None:
        self._timer = None
        left = self.heard_at + self._length - monotonic()
        if left > 0.0:
            self._timer = self._loop.call_later(left + TICK, self._ring)
        else:
            self._on_silence()
