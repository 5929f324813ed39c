"""The buffer of log lines: many in one write, bounded, never cut in the middle."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest

from sidecar.telemetry.lines import ENOUGH, Lines
from sidecar.telemetry.output import Output


def _with_pipe(scenario: Callable[[Lines, int], Awaitable[None]], *, capacity: int = 1 << 20) -> Lines:
    async def run() -> Lines:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        lines = Lines(Output(writing), asyncio.get_running_loop(), delay=0.0, capacity=capacity)
        os.close(writing)
        try:
            await scenario(lines, reading)
        finally:
            lines.close()
            os.close(reading)
        return lines

    return asyncio.run(run())


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    await ready.wait()
    loop.remove_reader(descriptor)


def test_lines_of_one_turn_go_in_one_write_and_in_order() -> None:
    """A request must not cost a system call of its own."""

    async def scenario(lines: Lines, reading: int) -> None:
        lines.add(b"one\n")
        lines.add(b"two\n")
        await _readable(reading)
        assert os.read(reading, 100) == b"one\ntwo\n"

    assert _with_pipe(scenario).dropped == 0


def test_many_lines_do_not_wait_for_the_timer() -> None:
    """At 60 000 lines a second those of one delay would be more than the buffer takes."""

    async def scenario(lines: Lines, reading: int) -> None:
        line = b"x" * 999 + b"\n"
        for _ in range(ENOUGH // len(line)):
            lines.add(line)
        with pytest.raises(BlockingIOError):
            os.read(reading, 1)
        lines.add(line)
        assert os.read(reading, 1 << 20) == line * (ENOUGH // len(line) + 1)

    assert _with_pipe(scenario).dropped == 0


def test_a_blocked_reader_costs_whole_lines_and_gets_the_rest_unbroken() -> None:
    """What arrives must parse, line by line."""
    line = b"x" * 999 + b"\n"

    async def scenario(lines: Lines, reading: int) -> None:
        for _ in range(1000):
            lines.add(line)
            lines.flush()
        assert lines.dropped > 0
        dropped = lines.dropped
        got = bytearray()
        while len(got) < (1000 - dropped) * len(line):
            await _readable(reading)
            got += os.read(reading, 1 << 20)
        assert got == line * (1000 - dropped)

    _with_pipe(scenario, capacity=200_000)


def test_lines_flow_again_after_the_reader_came_back() -> None:
    """Nothing has to be restarted."""

    async def scenario(lines: Lines, reading: int) -> None:
        for _ in range(200):
            lines.add(b"x" * 999 + b"\n")
        lines.flush()
        lines.add(b"the end\n")
        got = bytearray()
        while not got.endswith(b"the end\n"):
            await _readable(reading)
            got += os.read(reading, 1 << 20)
        assert len(got) == 200_008

    assert _with_pipe(scenario).dropped == 0


def test_a_reader_that_left_costs_the_count_of_its_lines() -> None:
    """A closed stdout is no reason to fail requests."""

    async def run() -> int:
        reading, writing = os.pipe()
        lines = Lines(Output(writing), asyncio.get_running_loop(), delay=0.0)
        os.close(reading)
        os.close(writing)
        for _ in range(3):
            lines.add(b"x\n")
        lines.flush()
        lines.add(b"y\n")
        lines.close()
        return lines.dropped

    assert asyncio.run(run()) == 4


def test_closing_writes_what_waits() -> None:
    """The last lines before the end are the ones that are looked for."""

    async def run() -> bytes:
        reading, writing = os.pipe()
        lines = Lines(Output(writing), asyncio.get_running_loop(), delay=60.0)
        lines.add(b"last words\n")
        lines.close()
        got = os.read(reading, 100)
        os.close(reading)
        os.close(writing)
        return got

    assert asyncio.run(run()) == b"last words\n"
