"""Carries a schedule out: begins every request at its moment, however many are still waiting for their answers.

In:      what is to happen and when; how to ask.
Out:     every Answer to `answered`; `began` at each phase. Ends when the schedule does and all is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic

from sidecar.demo.app import Answer
from sidecar.demo.schedule import Arrival, Began, LoadPhase


async def carry_out(
    schedule: Iterable[Began | Arrival],
    ask: Callable[[], Awaitable[Answer]],
    *,
    began: Callable[[LoadPhase], None],
    answered: Callable[[Answer], None],
) -> None:
    """Whoever cancels it hangs up on what is in flight."""
    start = monotonic()

    async def one() -> None:
        answered(await ask())

    async with asyncio.TaskGroup() as requests:
        for event in schedule:
            await asyncio.sleep(max(0.0, start + event.at - monotonic()))
            if isinstance(event, Began):
                began(event.phase)
            else:
                requests.create_task(one())
