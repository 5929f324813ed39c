"""Loop lag against a clock that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import chain, repeat

from sidecar.telemetry.loop_lag import LoopLag


def _measure(*lateness: float) -> LoopLag:
    """A lag whose timer was late by these amounts, the last one for ever after."""

    async def scenario() -> LoopLag:
        measured = asyncio.Event()

        def clock() -> Iterator[float]:
            now = 0.0
            yield now
            for count, late in enumerate(chain(lateness, repeat(lateness[-1])), 1):
                now += late
                yield now  # the timer fired
                if count == len(lateness):
                    measured.set()
                yield now  # and is armed again

        moments = clock()
        lag = LoopLag(asyncio.get_running_loop(), interval=0.0, clock=lambda: next(moments))
        lag.start()
        await measured.wait()
        lag.stop()
        return lag

    return asyncio.run(scenario())


def test_the_worst_of_the_last_half_minute_is_kept() -> None:
    """A scrape that comes after the stall still sees it."""
    lag = _measure(0.25, 0.0625)
    assert lag.worst() == 0.25
    assert lag.last == 0.0625


def test_a_timer_that_fires_early_is_not_late() -> None:
    """uvloop's clock has a grain of a millisecond."""
    assert _measure(-0.001).worst() == 0.0


def test_nothing_measured_is_no_lag() -> None:
    """The first scrape may come before the first sample."""
    with asyncio.Runner() as runner:
        assert LoopLag(runner.get_loop()).worst() == 0.0
