"""Slow clients cost bounded memory and nobody else's answers: real slowhttptest against the daemon as a process.

Why:     a client that sends or reads a few bytes a second is the cheapest attack there is, and a hung app looks the
         same. What is printed are the good client's latencies before and during it; they are not judged, for the
         machine may be busy.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import pytest

from tests.daemon.llm import CHAT, Answer, Llm, Received, chat_chunk
from tests.daemon.process import Process, running
from tests.daemon.sidecar import service
from tests.itest.peers import require
from tests.itest.slow import (
    GoodClient,
    attack,
    last_counts,
    open_connections,
    resident,
    slowhttptest,
    spread,
)
from tests.itest.stage import config, llm, until

pytestmark = pytest.mark.itest

CONNECTIONS = 200
SLOW_READERS = 60
LENGTH = "8"  # seconds
PAUSE = 0.02  # between two questions of the good client
STREAM_SIZE = 4 * 1024 * 1024  # of an answer that is read slowly: far beyond what any buffer takes
LIMITS = {"head_timeout": "3s", "body_idle_timeout": "3s", "write_timeout": "4s"}
QUESTION: dict[str, object] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def by_path() -> Answer:
    """A short answer for the good client, a stream of megabytes for everyone else."""
    whole = json.dumps(CHAT).encode()
    short = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(whole)
    events = chat_chunk("a few words more") * 256
    long_head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n"

    async def answer(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if "/chat/completions" in received.line:
            writer.write(short + whole)
            return
        times = STREAM_SIZE // len(events)
        writer.write(long_head % (times * len(events)))
        for _ in range(times):
            writer.write(events)
            await writer.drain()

    return answer


@pytest.fixture
def service_() -> Iterator[Llm]:
    with llm(by_path()) as running_llm:
        yield running_llm


@pytest.fixture
def process(tmp_path: Path, service_: Llm) -> Iterator[Process]:
    with running(config(tmp_path, service("a", service_), limits=LIMITS), tmp_path) as process:
        yield process


@pytest.fixture
def good(process: Process) -> Iterator[GoodClient]:
    client = GoodClient(f"http://{process.listen[1]}/v1/chat/completions", QUESTION)
    yield client
    client.close()


class Watch:
    """The good client under an attack, and the daemon's memory meanwhile."""

    def __init__(self, process: Process, good: GoodClient) -> None:
        self._process = process
        self._good = good
        self.port = int(process.listen[1].rpartition(":")[2])
        self.before = [good.ask() for _ in range(100)]
        self.during: list[float] = []
        self.at_first = self.peak = resident(process.pid)
        self.most = 0  # connections at once

    def until_the_end_of(self, attacker: subprocess.Popen[str]) -> None:
        while attacker.poll() is None:
            self.during.append(self._good.ask())
            self.peak = max(self.peak, resident(self._process.pid))
            self.most = max(self.most, open_connections(self._process.pid, self.port))
            sleep(PAUSE)

    def told(self, mode: str) -> str:
        grown = (self.peak - self.at_first) / 1024 / 1024
        return (
            f"\n  {mode}: {self.most} connections, memory +{grown:.1f} MiB\n"
            f"    before: {spread(self.before)} ({len(self.before)} requests)\n"
            f"    during: {spread(self.during)} ({len(self.during)} requests)"
        )


@pytest.mark.parametrize(
    ("mode", "connections", "memory_each", "more"),
    [
        pytest.param("H", CONNECTIONS, 64, ("-i", "1", "-x", "24"), id="heads"),
        pytest.param("B", CONNECTIONS, 64, ("-i", "1", "-s", "8192", "-x", "24"), id="bodies"),
        pytest.param("B", CONNECTIONS, 64, ("-i", "5", "-s", "8192", "-x", "24"), id="stalled bodies"),
        pytest.param(
            "X",
            SLOW_READERS,
            1024,
            ("-w", "10", "-y", "20", "-n", "1", "-z", "32", "-t", "GET"),
            id="reading",
        ),
    ],
)
def test_a_good_client_is_served_while_others_are_slow(
    process: Process,
    good: GoodClient,
    capsys: pytest.CaptureFixture[str],
    mode: str,
    connections: int,
    memory_each: int,
    more: tuple[str, ...],
) -> None:
    """Each slow one may cost `memory_each` KiB, no more, and nothing once it has gone."""
    tool = require(slowhttptest)
    watch = Watch(process, good)
    with attack(
        tool, f"http://{process.listen[1]}/v1/slow", mode, connections, "-l", LENGTH, *more
    ) as attacker:
        watch.until_the_end_of(attacker)
        counts = last_counts(attacker)
    with capsys.disabled():
        print(watch.told(mode), counts)
    assert watch.most > connections // 2, "slowhttptest did not get through"
    assert good.failures == []
    assert watch.peak - watch.at_first < connections * memory_each * 1024
    good.close()
    until("every connection is closed", lambda: open_connections(process.pid, watch.port) == 0)


def test_a_head_that_does_not_end_is_answered_and_closed(process: Process, good: GoodClient) -> None:
    """The daemon itself ends it at `head_timeout`, long before the attack would."""
    tool = require(slowhttptest)
    url = f"http://{process.listen[1]}/v1/slow"
    with attack(tool, url, "H", 20, "-l", "20", "-i", "1", "-x", "24") as attacker:
        until("20 answers of 408", lambda: sum(x.get("status") == 408 for x in list(process.lines)) == 20)
        assert good.ask() < 20
        assert good.failures == []
        attacker.terminate()
