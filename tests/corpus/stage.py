"""What the cases are played on: daemons and endpoints on one loop, and the app's end of a connection.

In:      a config, and the endpoints its services stand for.
Out:     answers as the app saw them, read by a parser that shares nothing with the sidecar's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop
import yaml

from sidecar.daemon import Daemon
from sidecar.policy import load
from sidecar.record import RequestRecord

from .endpoint import PATIENCE, Endpoint

T = TypeVar("T")
TRANSPORTS = ("unix", "tcp")


class Stage:
    """One loop for all cases of a module; daemons and endpoints live on it until `close`."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._daemons: list[Daemon] = []
        self._endpoints: list[Endpoint] = []
        self.records: list[RequestRecord] = []
        self.trouble: list[dict[str, Any]] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def endpoint(self, plain: bytes | None = None) -> Endpoint:
        """A new endpoint, serving."""
        endpoint = Endpoint() if plain is None else Endpoint(plain)
        self.run(endpoint.start())
        self._endpoints.append(endpoint)
        return endpoint

    def daemon(self, written: dict[str, Any]) -> Daemon:
        """A new daemon, serving; its records are kept here."""
        loaded = load(yaml.safe_dump(written).encode())
        assert not loaded.problems, loaded.problems

        async def start() -> Daemon:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: self.trouble.append(context))
            daemon = Daemon(loaded.config, log_fd=None, sinks=[self.records.append])
            await daemon.start()
            return daemon

        daemon = self.run(start())
        self._daemons.append(daemon)
        return daemon

    def close(self) -> None:
        self.run(self._stop())
        self._runner.close()
        assert not self.trouble, self.trouble

    async def _stop(self) -> None:
        for daemon in self._daemons:
            daemon.request_stop()
            daemon.request_stop()
            await daemon.run_until_stopped()
        for endpoint in self._endpoints:
            await endpoint.stop()


class Answer:
    """One response as the app read it. `whole`: its body ended as its framing says."""

    def __init__(self, head: bytes) -> None:
        line, *rows = head.decode("latin-1").split("\r\n")[:-2]
        version, code, _ = line.split(" ", 2)
        assert version == "HTTP/1.1", line
        self.status = int(code)
        self.fields = [(name.lower(), value) for name, _, value in (row.partition(": ") for row in rows)]
        self.body = b""
        self.whole = True
        names = [name for name, _ in self.fields]
        framing = [name for name in names if name in ("content-length", "transfer-encoding")]
        assert len(framing) <= 1, f"framed twice: {self.fields}"

    def get(self, name: str) -> str | None:
        values = [value for key, value in self.fields if key == name]
        return values[0] if values else None

    @property
    def error_code(self) -> str | None:
        """Of the sidecar's own error."""
        code: str | None = json.loads(self.body)["error"]["code"]
        return code


class App:
    """One connection of an app."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, daemon: Daemon, over: str) -> App:
        if over == "unix":
            return cls(*await asyncio.open_unix_connection(str(daemon.listen[0]).removeprefix("unix:")))
        host, _, port = str(daemon.listen[1]).rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def answer(self, method: str = "GET") -> Answer:
        """The next response, interim ones too."""
        async with asyncio.timeout(PATIENCE):
            answer = Answer(await self.reader.readuntil(b"\r\n\r\n"))
            try:
                await self._read_body(answer, method)
            except (asyncio.IncompleteReadError, ConnectionError) as cut:
                answer.whole = False
                if isinstance(cut, asyncio.IncompleteReadError):
                    answer.body += cut.partial
            return answer

    async def ended(self) -> bytes:
        """What still comes up to the end of the connection; a reset is an end, too."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return

    async def _read_body(self, answer: Answer, method: str) -> None:
        if method == "HEAD" or answer.status < 200 or answer.status in (204, 304):
            return
        if answer.get("transfer-encoding") == "chunked":
            while size := int(await self._line(), 16):
                answer.body += await self.reader.readexactly(size)
                assert await self._line() == b"\r\n"
            assert await self._line() == b"\r\n"
        elif (length := answer.get("content-length")) is not None:
            answer.body = await self.reader.readexactly(int(length))
        else:
            answer.body = await self.reader.read()

    async def _line(self) -> bytes:
        """A line of the chunked framing; what there is of a cut one is no payload."""
        try:
            return await self.reader.readuntil(b"\r\n")
        except asyncio.IncompleteReadError as cut:
            raise asyncio.IncompleteReadError(b"", None) from cut
