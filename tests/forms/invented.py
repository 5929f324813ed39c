"""Invented time, and a loop that lives in it: nothing waits, and two processes see the same moments.

In:      `install` before `sidecar` is imported, whose modules then take clocks and `sleep` of `time` as they are here.
Out:     Loop: its timers move the clock on; its dials are answered by whoever sets `dialled`.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Awaitable, Callable
from typing import Any

BEGIN = 1000.0
BEGIN_WALL = 1_790_000_000_000_000_000  # in 2026

LEAST = 1e-6  # that a turn takes: a timer that rings a rounding too early is set again for at once

Dialled = Callable[[Callable[[], Any], str, int], Awaitable[tuple[Any, Any]]]


class Clock:
    """Stands still but for `pass_on`."""

    def __init__(self) -> None:
        self.now = BEGIN

    def monotonic(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return BEGIN_WALL + round((self.now - BEGIN) * 1e9)

    def pass_on(self, seconds: float) -> None:
        self.now += seconds

    def install(self) -> None:
        time.monotonic = self.monotonic
        time.time_ns = self.time_ns
        time.sleep = self.pass_on  # type: ignore[assignment]  # nobody sleeps by an __index__


class _Waiting(selectors.SelectSelector):
    """Where a loop would wait for its files, time passes at once."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "nothing would ever happen again"
        self._clock.pass_on(max(timeout, LEAST))
        return []


class Loop(asyncio.SelectorEventLoop):
    """A real one, but for files, time and dials."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(_Waiting(clock))
        self.dialled: Dialled

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any
    ) -> Any:
        return await self.dialled(protocol_factory, host, port)

    def turn(self) -> None:
        """Whatever is due now, once."""
        self.call_soon(self.stop)
        self.run_forever()

    def run_for(self, seconds: float) -> None:
        """All that is due in this time."""
        self.call_later(seconds, self.stop)
        self.run_forever()
