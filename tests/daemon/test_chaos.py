"""Everything goes wrong at random, at every moment at once; and still each request ends exactly once, in one way.

The seed is in the test's id and its output: SIDECAR_CHAOS_SEED=N runs that one again.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import re
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
import yaml

from sidecar.admin.outcomes import Invalid
from sidecar.attempt.budget import RetryBudget
from sidecar.attempt.plan import Plan
from sidecar.daemon import Daemon
from sidecar.downstream.connection import AppConnection
from sidecar.exchange.attempt import Attempt
from sidecar.exchange.exchange import Exchange
from sidecar.exchange.gate import Gate
from sidecar.failure import FailureKind
from sidecar.health.ledger import EndpointHealth
from sidecar.policy import load
from sidecar.record import AttemptRecord, Attempts, RequestRecord
from tests.upstream.authority import Authority, server_context

from .llm import DONE, LAST, SSE_HEAD, Llm, Received, chat_chunk, framed
from .loop import run
from .peers import SecureLlm
from .sidecar import App, chat, config, free_port, service, sidecar
from .waiting import begin, until

SEEDS = [int(given)] if (given := os.environ.get("SIDECAR_CHAOS_SEED")) else [1, 2, 3]
REQUESTS = 250
APPS = 12
TAG = re.compile(rb"<(\w+)#(\d+)>")

TIMEOUTS = {
    "connect": "500ms",
    "first_packet": "60ms",
    "idle": "120ms",
    "total": "600ms",
    "response": "150ms",
}
HEALTH = {"consecutive_failures": 8, "base_ejection_time": "50ms", "minimum_requests": 20}


class Chaos:
    """An LLM service whose every answer bears its own tag, and that may fail before, in and after each piece."""

    def __init__(self, name: str, rng: Random) -> None:
        self._name = name
        self._rng = rng
        self._count = 0

    async def __call__(
        self, received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._count += 1
        tag = f"<{self._name}#{self._count}>"
        pieces = self._pieces(tag, stream=received.json["stream"])
        good = self._rng.random() < 0.4
        fault_at = len(pieces) if good else self._rng.randrange(len(pieces) + 1)
        for piece in pieces[:fault_at]:
            if writer.is_closing():
                return
            writer.write(piece)
            if self._rng.random() < 0.2:
                await asyncio.sleep(self._rng.choice((0, 0.002, 0.02)))
        if not good:
            await self._fail(reader, writer)

    def _pieces(self, tag: str, *, stream: bool) -> list[bytes]:
        rng = self._rng
        way = rng.random()
        if way < 0.15:
            status = rng.choice((400, 404, 429, 500, 503))
            extra = rng.choice(("", "retry-after-ms: 20\r\n"))
            return _plain({"error": {"message": tag}}, status, extra)
        if not stream:
            return _plain({"choices": [{"message": {"content": tag * rng.choice((1, 2000, 60000))}}]}, 200)
        events = [chat_chunk(role=True), *[chat_chunk(tag) for _ in range(rng.choice((1, 5, 60)))]]
        if way < 0.25:
            events.insert(rng.randrange(len(events)), b'data: {"error": {"message": "no memory"}}\n\n')
        if way > 0.35:
            events += [chat_chunk(finish="stop"), DONE]
        raw = b"".join(map(framed, events)) + LAST
        cuts = sorted(rng.randrange(len(raw)) for _ in range(rng.randrange(8)))
        return [SSE_HEAD, *(raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True))]

    async def _fail(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match self._rng.randrange(5):
            case 0:
                writer.transport.abort()
            case 1:
                writer.close()
            case 2 if not writer.is_closing():
                writer.write(b"\0\xffHTTP/1.1 200 OK\r\n\r\n")
            case 3:  # silence, until the caller goes
                await reader.read(1)
                writer.close()
            case 4:  # or until it has had enough itself
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 0.1)
                writer.close()


def _plain(value: object, status: int, extra: str = "") -> list[bytes]:
    body = json.dumps(value).encode()
    head = (
        f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{extra}content-length: {len(body)}\r\n\r\n"
    )
    return [head.encode(), body[: len(body) // 2], body[len(body) // 2 :]]


async def impatient(daemon: Daemon, rng: Random, requests: int) -> int:
    """One app: asks, reads slowly or not at all, hangs up at any moment, comes back. Returns what it has seen whole."""
    whole = 0
    app: App | None = None
    for _ in range(requests):
        if app is None:
            app = await (App.over_unix if rng.random() < 0.5 else App.over_tcp)(daemon)
        data = chat(stream=rng.random() < 0.7) * rng.choice((1, 1, 1, 3))
        if rng.random() < 0.05:
            data = data[: rng.randrange(len(data))]
        app.send(data)
        way = rng.random()
        try:
            if way < 0.55:
                reply = await asyncio.wait_for(app.reply(), 5)
                tags = {(m[1], m[2]) for m in TAG.finditer(reply.body)}
                assert len(tags) <= 1, f"bytes of several attempts: {tags}"
                whole += reply.ended
                if reply.ended and reply.fields.get("connection") != "close" and data.count(b"POST") == 1:
                    continue
            elif way < 0.7:
                await asyncio.sleep(rng.choice((0, 0.001, 0.03, 0.08)))
            elif way < 0.85:
                await asyncio.wait_for(app.reader.readuntil(b"\n\n"), 0.3)
            elif way < 0.88:  # does not fetch what it asked for
                cast(asyncio.Transport, app.writer.transport).pause_reading()
                await asyncio.sleep(rng.choice((0.05, 0.5)))
            elif way < 0.92:
                app.writer.write_eof()
                await asyncio.wait_for(app.reader.read(), 5)
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError):
            pass
        if rng.random() < 0.5:
            app.writer.transport.abort()
        else:
            app.close()
        app = None
    if app is not None:
        app.close()
    return whole


class Witness:
    """Counts every end."""

    def __init__(self, daemon: Daemon) -> None:
        self.attempts: Counter[int] = Counter()
        self.kept: list[AttemptRecord] = []  # so that no id is used twice
        self.endpoints: set[EndpointHealth] = set()
        self.budgets: set[RetryBudget] = set()
        self.note_policy(daemon)
        others = daemon._shared.attempts

        def attempt_finished(request: RequestRecord, attempt: AttemptRecord) -> None:
            self.attempts[id(attempt)] += 1
            self.kept.append(attempt)
            others.finished(request, attempt)

        daemon._shared.attempts = Attempts(attempt_finished, wanted=1)

    def note_policy(self, daemon: Daemon) -> None:
        for name in daemon._in_force.runtime().services:
            self.endpoints.update(daemon._ledger.endpoints(name))
        for route in daemon._in_force.runtime().routes.values():
            self.budgets |= {route.budget} | ({route.hedge_budget} if route.hedge_budget else set())


async def meddle(daemon: Daemon, written: dict[str, Any], witness: Witness, rng: Random) -> None:
    """Changes the policy under the requests in flight: services and endpoints come and go."""
    one, two = written["policy"]["services"]
    (route,) = written["policy"]["routes"]
    away = {**two, "url": f"http://127.0.0.1:{free_port()}/v1"}
    choices = [
        {"services": [one, two], "routes": [route]},
        {"services": [one], "routes": [{**route, "services": ["one"]}]},
        {"services": [one, away], "routes": [route]},
        {"services": [two, one], "routes": [{**route, "services": ["two", "one"]}]},
    ]
    while True:
        policy = rng.choice(choices)
        loaded = load(yaml.safe_dump({**written, "policy": policy}).encode())
        outcome = await daemon.policies.apply(loaded.config.policy, "chaos")
        assert not isinstance(outcome, Invalid), outcome
        witness.note_policy(daemon)
        await asyncio.sleep(rng.choice((0.01, 0.1, 0.2)))


def queues_of(daemon: Daemon) -> dict[str, int]:
    """Who still waits for what."""
    side, clocks = daemon._side, daemon._shared.clocks
    sizes = {name: len(getattr(side, name)) for name in ("idle", "head_due", "body_due", "leaving", "unsent")}
    for name in ("first_packet", "soft", "hedge", "response", "total", "patience"):
        sizes[f"attempt_{name}"] = sum(len(q) for q in getattr(clocks, name)._queues.values())
    return sizes


async def settled(daemon: Daemon) -> None:
    """Until no connection of an app is left; fails where that takes too long."""
    await until(lambda: not daemon._side.connections)


def open_sockets() -> int:
    """Of this process; the loop keeps a few files of other kinds for itself."""
    count = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
    return count


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_every_request_ends_once_and_nothing_is_left_behind(
    seed: int, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Each fault has its own test; this one finds the pairs that nobody has thought of."""
    print(f"SIDECAR_CHAOS_SEED={seed}")
    caplog.set_level(logging.ERROR)
    unhandled: list[dict[str, Any]] = []
    records: list[RequestRecord] = []
    authority = Authority(tmp_path)
    pair = authority.issue("localhost", "DNS:localhost")

    async def test() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: unhandled.append(context))
        rng = Random(seed)
        before = open_sockets()
        async with (
            Llm(Chaos("a", Random(seed + 100))) as a,
            SecureLlm(server_context(pair), Chaos("b", Random(seed + 200))) as b,
        ):
            written = config(
                service(
                    "one",
                    a,
                    timeouts=TIMEOUTS,
                    passive_health=HEALTH,
                    max_concurrency=APPS - 1,
                    queue={"max_requests": 4, "timeout": "20ms"},
                ),
                service(
                    "two", b, timeouts=TIMEOUTS, passive_health=HEALTH, tls={"ca_file": str(authority.ca)}
                ),
                route={
                    "commit": rng.choice(("first_packet", "complete")),
                    "deadline": rng.choice(("300ms", "5s")),
                    "wait_for_retry_after": "50ms",
                    "cut_last": rng.random() < 0.5,
                    "hedge": {"after": rng.choice(("5ms", "30ms")), "budget": "50%"},
                },
                limits={"write_timeout": "200ms", "head_timeout": "200ms", "body_idle_timeout": "200ms"},
            )
            async with sidecar(written, sinks=[records.append]) as daemon:
                witness = Witness(daemon)
                meddler = begin(meddle(daemon, written, witness, Random(seed + 300)))
                apps = [impatient(daemon, Random(rng.random()), REQUESTS // APPS) for _ in range(APPS)]
                whole = sum(await asyncio.gather(*apps))
                meddler.cancel()
                await settled(daemon)
                assert whole > REQUESTS // 20
                check_ends(records, witness)
                check_rest(daemon, witness)
        await until(lambda: open_sockets() <= before)

    run(test())
    gc.collect()  # a task that died unseen says so when it is collected
    assert unhandled == []
    assert [r.getMessage() for r in caplog.records] == []


def check_ends(records: list[RequestRecord], witness: Witness) -> None:
    assert len({r.request_id for r in records}) == len(records), "a request with two records"
    assert all(r.ended_at is not None for r in records)
    attempts = [attempt for record in records for attempt in record.attempts]
    assert all(attempt.ended_at is not None for attempt in attempts)
    assert Counter(id(attempt) for attempt in attempts) == witness.attempts, "an attempt without its one end"
    assert all(n == 1 for n in witness.attempts.values())
    assert not [r for r in records if r.failure and r.failure.kind is FailureKind.INTERNAL_ERROR]


def check_rest(daemon: Daemon, witness: Witness) -> None:
    gc.collect()
    kinds = (Exchange, Attempt, Gate, Plan, AppConnection)
    assert Counter(type(o).__name__ for o in gc.get_objects() if isinstance(o, kinds)) == {}
    assert daemon._shared.exchanges == set()
    assert set(queues_of(daemon).values()) == {0}, queues_of(daemon)
    assert not [e.key for e in witness.endpoints if e.in_flight]
    assert not [b for b in witness.budgets if b.active or b.retries]
