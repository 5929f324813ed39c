"""The guard over the data path as it is."""

from __future__ import annotations

import asyncio
import os

import pytest
import uvloop

from bench.guard import system_calls
from bench.guard.counting import count_all, where
from bench.guard.kept import CALLS, PYTHON, compare, complaint, kept
from bench.guard.scenes import SCENES, daemon
from bench.load.tools import Missing


def test_the_data_path_is_no_dearer_than_what_was_kept() -> None:
    """Microseconds drown in the mood of a shared machine; in exact counts a creeping cost is seen at once."""
    before = kept(PYTHON)
    if before is None:
        pytest.skip(f"no figures are kept for Python {PYTHON}: python -m bench.guard --keep")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        now = runner.run(count_all())
    if dearer := compare(before, now):
        pytest.fail(complaint(dearer), pytrace=False)


@pytest.mark.itest
def test_a_request_and_a_chunk_make_no_more_system_calls_than_was_kept() -> None:
    """Most of what the data path costs is the kernel's; its calls can be counted."""
    before = kept(CALLS)
    assert before is not None
    try:
        now = system_calls.count()
    except (Missing, OSError) as why:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(why))
    if dearer := compare(before, now):
        pytest.fail(complaint(dearer), pytrace=False)


async def _functions(scene: str) -> list[tuple[str, int]]:
    async with daemon(log=False) as running:
        return where(SCENES[scene](running))


def test_a_dear_function_can_be_found() -> None:
    """Whoever meets the complaint has to find the place."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(_functions("json"))
    names = [name for name, _ in found]
    assert "sidecar.downstream.connection.AppConnection.data_received" in names
    assert [count for _, count in found] == sorted((count for _, count in found), reverse=True)
