"""The guard over the data path as it is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.guard import instructions, system_calls
from bench.guard.kept import CALLS, PYTHON, compare, complaint, kept
from bench.load.tools import Missing


def guard(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: what is compiled has no bytecodes to count."""
    command = [sys.executable, "-m", "bench.guard", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_data_path_is_no_dearer_than_what_was_kept() -> None:
    """Microseconds drown in the mood of a shared machine; in exact counts a creeping cost is seen at once."""
    if kept(PYTHON) is None:
        pytest.skip(f"no figures are kept for Python {PYTHON}: python -m bench.guard --keep")
    told = guard("--no-start", "--no-instructions")
    if told.returncode:
        pytest.fail(told.stdout + told.stderr, pytrace=False)


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


@pytest.mark.itest
def test_the_compiled_form_takes_no_more_instructions_than_was_kept() -> None:
    """It is what is shipped, and a look-up or an exception that Python forgives costs there, too."""
    try:
        now = instructions.count(["json", "chunk", "stream"])
    except (Missing, OSError) as why:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(why))
    before = {part: kept(part) for part in now}
    if not any(before.values()):
        pytest.skip(f"no figures are kept for Python {PYTHON}: python -m bench.guard --keep")
    dearer = [one for part, table in before.items() if table for one in compare(table, now[part])]
    if dearer:
        pytest.fail(complaint(dearer), pytrace=False)


@pytest.mark.itest
def test_a_dear_function_of_the_compiled_form_can_be_found() -> None:
    """With what it calls: that is mostly where the instructions are."""
    try:
        found = {one.function: one for one in instructions.where("chunk")}
    except (Missing, OSError) as why:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(why))
    framing = found["framing.Chunked.feed"]
    assert framing.itself > 0
    assert sum(one.instructions for one in framing.called) == pytest.approx(
        framing.instructions - framing.itself
    )


def test_a_dear_function_can_be_found() -> None:
    """Whoever meets the complaint has to find the place."""
    told = guard("--where", "json")
    found = [line.split() for line in told.stdout.splitlines()]
    assert "sidecar.downstream.connection.AppConnection.data_received" in [name for _, name in found]
    counts = [int(count) for count, _ in found]
    assert counts == sorted(counts, reverse=True)
