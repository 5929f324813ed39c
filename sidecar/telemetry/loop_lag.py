"""Loop lag: how late the loop runs what is due, measured by a timer that knows when it should have fired.

In:      the loop; a monotonic clock that is read at the call (uvloop's own time stands still in a turn).
Out:     the last lateness and the worst of the last half minute, in seconds.
Limits:  a sample every half second; a stall that falls between two samples is seen by its share only.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

_INTERVAL = 0.5
_SAMPLES = 60  # half a minute: no scrape interval in use misses a stall


class LoopLag:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        interval: float = _INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = loop
        self._interval = interval
        self._clock = clock
        self._samples: deque[float] = deque(maxlen=_SAMPLES)
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._due = self._clock() + self._interval
        self._timer = self._loop.call_later(self._interval, self._fired)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def last(self) -> float:
        return self._samples[-1] if self._samples else 0.0

    def worst(self) -> float:
        """The longest lateness of the last half minute."""
        return max(self._samples, default=0.0)

    def _fired(self) -> None:
        # uvloop may fire a fraction of a millisecond early: that is no negative lag.
        self._samples.append(max(0.0, self._clock() - self._due))
        self.start()
