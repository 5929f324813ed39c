"""An endpoint that sends exactly what a case says, and keeps exactly what it received.

In:      the steps of a case; from then on a plain 200.
Out:     every request with its bytes as they came and the number of its connection; `played` when the steps are
         through; for each connection whether the sidecar has ended it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from .cases import Bytes, Marker, Step

PAUSE = 0.02
PATIENCE = 5.0
PLAIN = b'{"ok":true}'


@dataclass
class Got:
    """One request as it arrived."""

    head: bytes
    connection: int
    body: bytes = b""
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n")[0].decode("latin-1")

    @property
    def fields(self) -> list[tuple[str, str]]:
        rows = [row.partition(b": ") for row in self.head.split(b"\r\n")[1:-2]]
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, _, value in rows]


class Endpoint:
    """Serves on `address` from `start` to `stop`."""

    def __init__(self, plain: bytes = PLAIN) -> None:
        self._plain = plain
        self._steps: deque[Step] = deque()
        self._server: asyncio.Server | None = None
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._connections = 0
        self.address = ""
        self.received: list[Got] = []
        self.raw = bytearray()
        self.asked = asyncio.Event()
        self.played = asyncio.Event()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def hang_up(self) -> None:
        """Ends the idle connections and waits until the sidecar has noticed."""
        for writer in self._tasks.values():
            writer.write_eof()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=PATIENCE)

    def play(self, steps: Sequence[Step]) -> None:
        """What the next requests are answered with; what was received before is forgotten."""
        self._steps = deque(step for step in steps if isinstance(step, Marker) or step.by == "<")
        self.received = []
        self.raw.clear()
        self.asked = asyncio.Event()
        self.played = asyncio.Event()
        if not self._steps:
            self.played.set()

    # -- serving -----------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = writer
        number, self._connections = self._connections, self._connections + 1
        got: Got | None = None
        try:
            if self._begins_with("on connect"):
                await self._play(None, reader, writer)
            while not writer.is_closing() and (got := await self._read_head(reader, number)) is not None:
                early = self._begins_with("on head")
                if early:
                    await self._play(got, reader, writer)
                await self._read_body(got, reader)
                if not early:
                    await self._answer(got, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self._steps.clear()
            self.played.set()
            if got is not None:
                got.hung_up.set()
        except asyncio.CancelledError:
            pass
        finally:
            del self._tasks[task]
            writer.close()

    def _begins_with(self, word: str) -> bool:
        if self._steps and self._steps[0] == Marker(word):
            self._steps.popleft()
            return True
        return False

    async def _answer(self, got: Got, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._steps:
            await self._play(got, reader, writer)
            return
        body = b"" if got.line.startswith("HEAD ") else self._plain
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        writer.write(head % len(self._plain) + body)

    async def _play(
        self, got: Got | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while self._steps:
            step = self._steps.popleft()
            if isinstance(step, Bytes):
                await _write(writer, step.data)
            elif step.word == "next request":
                break
            else:
                await self._mark(step.word, got, reader, writer)
        self.played.set()

    async def _mark(
        self, word: str, got: Got | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        match word.split():
            case ["pause"]:
                await asyncio.sleep(PAUSE)
            case ["pause", seconds, "ms"]:
                await asyncio.sleep(int(seconds) / 1000)
            case ["drip"]:
                await self._drip(writer)
            case ["half", "close"]:
                writer.write_eof()
            case ["silence"]:
                while await reader.read(65536):
                    pass
                if got is not None:
                    got.hung_up.set()
                writer.close()
            case ["close"]:
                writer.close()
            case ["reset"]:
                linger_no_more(writer)
            case _:
                raise AssertionError(f"no marker of an endpoint: {word}")

    async def _drip(self, writer: asyncio.StreamWriter) -> None:
        step = self._steps.popleft()
        assert isinstance(step, Bytes)
        for at in range(len(step.data)):
            await _write(writer, step.data[at : at + 1])
            await asyncio.sleep(0)

    # -- reading -----------------------------------------------------------------------------------------------

    async def _read_head(self, reader: asyncio.StreamReader, number: int) -> Got | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as end:
            self.raw += end.partial
            return None
        self.raw += head
        got = Got(head, number)
        self.received.append(got)
        self.asked.set()
        return got

    async def _read_body(self, got: Got, reader: asyncio.StreamReader) -> None:
        lengths = [int(value) for name, value in got.fields if name.lower() == "content-length"]
        got.body = await reader.readexactly(lengths[0] if lengths else 0)
        self.raw += got.body


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    if writer.is_closing():
        raise ConnectionResetError("the sidecar has hung up")
    writer.write(data)
    await writer.drain()


def linger_no_more(writer: asyncio.StreamWriter) -> None:
    """A reset on TCP; on a Unix socket an end with whatever was unread lost."""
    connection = writer.get_extra_info("socket")
    if connection.family == socket.AF_INET:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
