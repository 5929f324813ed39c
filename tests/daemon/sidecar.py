"""A real daemon in the test's own loop, over real sockets, and a small client that shows every byte."""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import yaml

from sidecar.daemon import Daemon
from sidecar.policy import load

from .llm import Llm


def service(name: str, llm: Llm | str, **more: Any) -> dict[str, Any]:
    return {"name": name, "url": llm.url if isinstance(llm, Llm) else llm, **more}


def config(*services: dict[str, Any], route: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A config whose one route takes the services in order; Unix sockets in a folder of its own."""
    folder = tempfile.mkdtemp(prefix="sidecar-test-")
    rule = {"services": [s["name"] for s in services], **(route or {})}
    return {
        "listen": [f"unix:{folder}/llm.sock", "127.0.0.1:0"],
        "admin": {"enabled": False},
        "ops": {"enabled": False},
        "drain_timeout": "1s",
        "policy": {"services": list(services), "routes": [rule]},
        **more,
    }


@asynccontextmanager
async def sidecar(written: dict[str, Any], **more: Any) -> AsyncIterator[Daemon]:
    """Runs a daemon; its log lines go nowhere."""
    text = yaml.safe_dump(written).encode()
    loaded = load(text)
    assert not loaded.problems, loaded.problems
    daemon = Daemon(loaded.config, log_fd=None, **more)
    await daemon.start()
    try:
        yield daemon
    finally:
        daemon.request_stop()
        daemon.request_stop()
        await daemon.run_until_stopped()


class Reply:
    """What the app saw."""

    def __init__(self, head: bytes, body: bytes, *, ended: bool) -> None:
        line, *rows = head.decode("latin-1").split("\r\n")
        self.status = int(line.split(" ")[1])
        self.fields = {n.lower(): v.strip() for n, _, v in (row.partition(":") for row in rows if row)}
        self.body = body
        self.ended = ended  # the body ended as its framing says

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[bytes]:
        return [e for e in self.body.split(b"\n\n") if e]


class App:
    """One connection of an app, by raw bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def over_unix(cls, daemon: Daemon) -> App:
        return cls(*await asyncio.open_unix_connection(str(daemon.listen[0]).removeprefix("unix:")))

    @classmethod
    async def over_tcp(cls, daemon: Daemon) -> App:
        host, _, port = str(daemon.listen[1]).rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self, method: str = "POST") -> Reply:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)
        fields = head.lower()
        if method == "HEAD" or b" 204 " in head.split(b"\r\n")[0]:
            return Reply(head, b"", ended=True)
        try:
            if b"transfer-encoding: chunked" in fields:
                return await self._chunked(head)
            if b"content-length:" in fields:
                length = int(fields.split(b"content-length:")[1].split(b"\r\n")[0])
                return Reply(head, await asyncio.wait_for(self.reader.readexactly(length), 20), ended=True)
        except asyncio.IncompleteReadError as cut:
            return Reply(head, cut.partial, ended=False)
        return Reply(head, await asyncio.wait_for(self.reader.read(), 20), ended=True)

    async def _chunked(self, head: bytes) -> Reply:
        body = b""
        while True:
            try:
                size = int(await asyncio.wait_for(self.reader.readuntil(b"\r\n"), 20), 16)
                piece = await asyncio.wait_for(self.reader.readexactly(size + 2), 20)
            except (asyncio.IncompleteReadError, ConnectionError):
                return Reply(head, body, ended=False)
            if size == 0:
                return Reply(head, body, ended=True)
            body += piece[:-2]

    def close(self) -> None:
        self.writer.close()


def chat(*, stream: bool, model: str = "m", **fields: str) -> bytes:
    """A chat request as raw bytes."""
    body = json.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]})
    return post("/v1/chat/completions", body.encode(), **fields)


def post(path: str, body: bytes, **fields: str) -> bytes:
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{extra}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def ask(daemon: Daemon, request: bytes, method: str = "POST") -> Reply:
    """One request on a connection of its own."""
    app = await App.over_unix(daemon)
    try:
        app.send(request)
        return await app.reply(method)
    finally:
        app.close()


def free_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
