"""Exchanges played by hand on the protocol classes of a running daemon, one at a time, ready to be counted.

In:      a name of SCENES.
Out:     a Scene: `hold()` and `finish()` are what is counted; `begin()` and `end()` around them are not.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import yaml

from bench.micro import ANSWER, Bench, event, request_at
from sidecar.daemon import Daemon
from sidecar.downstream.connection import AppConnection
from sidecar.policy import load
from sidecar.upstream.connection import UpstreamConnection

SERVICES = ("a", "b")
CONFIG = {
    "listen": ["127.0.0.1:0"],
    "admin": {"enabled": False},
    "ops": {"listen": ["127.0.0.1:0"]},
    "drain_timeout": "1s",
    "policy": {
        "services": [
            {"name": name, "url": "http://127.0.0.1:9/v1", "passive_health": {"enforce": False}}
            for name in SERVICES
        ],
        "routes": [{"services": [*SERVICES], "retries_per_service": 0}],
    },
}
REQUEST, STREAM_REQUEST = request_at(0, stream=False), request_at(0, stream=True)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
STREAM_BEGIN = STREAM_HEAD + event("first")
LAST = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
STREAM_END = b"%x\r\n%b\r\n0\r\n\r\n" % (len(LAST), LAST)
WORD = event(" as many words as come at one time now")  # longer than one token: some arrive together
REFUSAL = b'{"error":{"message":"no room","type":"server_error","code":null}}'


def whole(status: str, body: bytes, *, fields: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ndate: Tue, 24 Nov 2026 00:00:00 GMT\r\nserver: uvicorn\r\n{fields}"
    return f"{head}content-length: {len(body)}\r\ncontent-type: application/json\r\n\r\n".encode() + body


class Scene:
    """Plays with one app connection and one connection to each service."""

    holds = False  # whether what stands between hold() and finish() is worth weighing

    def __init__(self, daemon: Daemon) -> None:
        self.bench = Bench(daemon)
        self.app = self.bench.app
        self.first = self.bench.llm
        self.second = self._connect(daemon)
        self.number = 0

    def begin(self) -> None:
        self.number += 1

    def hold(self) -> None:
        """The front part of what is counted: after it something is in flight."""

    def finish(self) -> None:
        """The rest of it."""

    def renew(self) -> None:
        """What has to be done before both can follow once more, without a new beginning."""

    def end(self) -> None:
        """Checks that the app has its answer and forgets it."""
        written = self.bench.app_transport.written
        assert b"".join(written).startswith(b"HTTP/1.1 200"), written
        written.clear()
        self.bench.llm_transport.written.clear()

    def _connect(self, daemon: Daemon) -> UpstreamConnection:
        pool = daemon._in_force.runtime().services["b"].pool("127.0.0.1:9")
        pool.turn = self.bench.turn
        connection = UpstreamConnection(pool)
        connection.connection_made(self.bench.llm_transport)
        connection.served = 1
        pool.put_back(connection, monotonic())
        return connection


class Json(Scene):
    """A request that arrives whole and is answered whole."""

    holds = True
    answer = whole("200 OK", ANSWER)

    def hold(self) -> None:
        self.app.data_received(REQUEST)
        self.bench.end_turn()

    def finish(self) -> None:
        self.first.data_received(self.answer)
        self.bench.end_turn()


class NewHeads(Scene):
    """The same, and no head is like one before."""

    def begin(self) -> None:
        super().begin()
        field = f"x-request-id: req-{self.number:08}\r\n"
        head, _, body = REQUEST.partition(b"\r\n\r\n")
        self._request = head + b"\r\n" + field.encode() + b"\r\n" + body
        self._answer = whole("200 OK", ANSWER, fields=field)

    def renew(self) -> None:
        self.begin()

    def finish(self) -> None:
        self.app.data_received(self._request)
        self.bench.end_turn()
        self.first.data_received(self._answer)
        self.bench.end_turn()


class Stream(Scene):
    """From the request to the end of a stream with one event."""

    holds = True

    def hold(self) -> None:
        self.app.data_received(STREAM_REQUEST)
        self.bench.end_turn()
        self.first.data_received(STREAM_BEGIN)
        self.bench.end_turn()

    def finish(self) -> None:
        self.first.data_received(STREAM_END)
        self.bench.end_turn()


class Chunk(Stream):
    """One event in the middle of a stream."""

    holds = False

    def begin(self) -> None:
        super().begin()
        super().hold()
        self.first.data_received(WORD)  # the first one tells what the others will look like
        self.bench.end_turn()

    def hold(self) -> None: ...

    def finish(self) -> None:
        self.first.data_received(WORD)
        self.bench.end_turn()

    def end(self) -> None:
        super().finish()
        super().end()


class Fallback(Scene):
    """The first service answers 503, the second one answers."""

    refusal = whole("503 Service Unavailable", REFUSAL)
    answer = whole("200 OK", ANSWER)

    def finish(self) -> None:
        self.app.data_received(REQUEST)
        self.bench.end_turn()
        self.first.data_received(self.refusal)
        self.bench.end_turn()
        self.second.data_received(self.answer)
        self.bench.end_turn()


class Refused(Scene):
    """No route: answered by the sidecar itself."""

    request = REQUEST.replace(b"/v1/", b"/no/")

    def finish(self) -> None:
        self.app.data_received(self.request)
        self.bench.end_turn()

    def end(self) -> None:
        written = self.bench.app_transport.written
        assert json.loads(written[0].partition(b"\r\n\r\n")[2])["error"]["code"] == "no_route"
        written.clear()


class Connection(Scene):
    """An app that connects, and leaves."""

    holds = True

    def hold(self) -> None:
        self.kept = AppConnection(self.app._listener)
        self.kept.connection_made(self.bench.app_transport)

    def finish(self) -> None:
        self.kept.connection_lost(None)
        del self.kept

    def end(self) -> None: ...


SCENES: dict[str, type[Scene]] = {
    "json": Json,
    "json, new heads": NewHeads,
    "stream": Stream,
    "chunk": Chunk,
    "fallback": Fallback,
    "refused": Refused,
    "connection": Connection,
}
LOGGED: dict[str, type[Scene]] = {"json, logged": Json, "stream, logged": Stream}


@asynccontextmanager
async def daemon(*, log: bool) -> AsyncIterator[Daemon]:
    """One to play with. Its log goes nowhere, but every line is made."""
    config: dict[str, Any] = {**CONFIG, "telemetry": {"access_log": log}}
    loaded = load(yaml.safe_dump(config).encode())
    assert not loaded.problems, loaded.problems
    nowhere = os.open(os.devnull, os.O_WRONLY) if log else None
    running = Daemon(loaded.config, log_fd=nowhere)
    await running.start()
    try:
        yield running
    finally:
        running.request_stop()
        running.request_stop()
        await running.run_until_stopped()
        if nowhere is not None:
            os.close(nowhere)
