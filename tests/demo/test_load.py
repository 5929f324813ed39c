"""Carrying a schedule out."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.demo.app import Answer
from sidecar.demo.load import carry_out
from sidecar.demo.schedule import Arrival, Began, LoadPhase

from .peer import run

CALM = LoadPhase("calm", 1.0, 3.0)


def test_requests_do_not_wait_for_each_other() -> None:
    """An open loop: users come whether or not the ones before were served."""

    async def story() -> None:
        everybody = asyncio.Barrier(3)
        phases: list[LoadPhase] = []
        answers: list[Answer] = []

        async def ask() -> Answer:
            await everybody.wait()  # nobody is answered before all three have asked
            return Answer(0.0, "a", 1, 0.1, "")

        schedule: list[Began | Arrival] = [Began(0.0, CALM), Arrival(0.0), Arrival(0.0), Arrival(0.01)]
        await carry_out(schedule, ask, began=phases.append, answered=answers.append)
        assert (phases, len(answers)) == ([CALM], 3)

    run(story())


def test_whoever_cancels_it_hangs_up_on_what_is_in_flight() -> None:
    """Ctrl-C ends the demo at once, whatever still waits."""

    async def story() -> None:
        asked, hung_up = asyncio.Event(), asyncio.Event()

        async def ask() -> Answer:
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                hung_up.set()
            raise AssertionError("nobody sets that event")

        work = asyncio.ensure_future(carry_out([Arrival(0.0)], ask, began=print, answered=print))
        await asked.wait()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert hung_up.is_set()

    run(story())
