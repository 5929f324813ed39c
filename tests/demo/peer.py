"""A raw client for simulated services, and a loop to run a story on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import uvloop

from sidecar.demo.llm import SimulatedLlm

T = TypeVar("T")


def run(story: Coroutine[Any, Any, T]) -> T:
    """On the daemon's kind of loop; a story that hangs fails."""

    async def in_time() -> T:
        async with asyncio.timeout(30):
            return await story

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(in_time())


class Peer:
    """One connection to a simulated service."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def hang_up(self) -> None:
        self.writer.transport.abort()

    def send(self, method: str, path: str, body: object = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\n\r\n"
        self.writer.write(head.encode() + data)

    async def head(self) -> str:
        return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def answer(self) -> tuple[int, Any]:
        """Status and JSON of a whole answer."""
        head = await self.head()
        length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
        return int(head.split(" ")[1]), json.loads(await self.reader.readexactly(length))

    async def chunk(self) -> bytes:
        """Empty at the end of the body."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def body(self) -> bytes:
        """The rest of a chunked body."""
        whole = b""
        while data := await self.chunk():
            whole += data
        return whole


@asynccontextmanager
async def connected(llm: SimulatedLlm) -> AsyncIterator[Peer]:
    """A connection that is dropped at the end, whatever is under way."""
    peer = Peer(*await asyncio.open_connection(llm.address.host, llm.address.port))
    try:
        yield peer
    finally:
        peer.hang_up()


async def fetch(llm: SimulatedLlm, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """One request on a connection of its own."""
    async with connected(llm) as peer:
        peer.send(method, path, body)
        return await peer.answer()


def chat(*, tokens: int, stream: bool = True) -> dict[str, object]:
    messages = [{"role": "user", "content": "hi"}]
    return {"model": "m", "stream": stream, "max_tokens": tokens, "messages": messages}
