"""Everything that goes wrong between apps and LLM services, one small coroutine each, chosen by weight.

In:      a random.Random; for answers what tests.daemon.llm hands them, for apps the daemon's addresses.
Out:     ANSWERS of a primary that fails in every way and MANNERS of apps, among them good ones.
Rule:    each leaves nothing behind: whatever it opened it closes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from random import Random
from weakref import WeakSet

from tests.daemon.llm import (
    CHAT,
    DONE,
    LAST,
    SSE_HEAD,
    Answer,
    Received,
    chat_chunk,
    framed,
    json_answer,
    raw,
    reset,
    silence,
    stream,
)
from tests.daemon.sidecar import chat, post

Manner = Callable[["Line", Random], Awaitable[None]]

_LARGE = {**CHAT, "pad": "x" * 700_000}
_EVENTS = b"".join(framed(chat_chunk("words ")) for _ in range(64))
_ERROR = {"error": {"message": "out of memory", "type": "server_error"}}
_END = framed(chat_chunk(finish="stop")) + framed(DONE) + LAST
_PATIENCE = 30.0  # for one answer; whoever waits longer has found something


class Line:
    """One connection of an app."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.answers = 0
        self.statuses: dict[int, int] = {}

    async def ask(self, request: bytes) -> None:
        """Sends it and reads the answer to its end, or to where it breaks."""
        self.writer.write(request)
        await asyncio.wait_for(self._answer(), _PATIENCE)

    async def _answer(self) -> None:
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head.split(b" ", 2)[1])
        self.answers += 1
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if b"transfer-encoding: chunked" in head:
            while (size := int(await self.reader.readuntil(b"\r\n"), 16)) > 0:
                await self.reader.readexactly(size + 2)
            await self.reader.readexactly(2)
        elif b"content-length: " in head:
            await self.reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        if b"connection: close" in head:
            raise ConnectionResetError("the sidecar ended the connection")


# -- apps ------------------------------------------------------------------------------------------------------


async def asks_and_stays(line: Line, rng: Random) -> None:
    for _ in range(rng.randrange(1, 12)):
        await line.ask(chat(stream=rng.random() < 0.6))


async def pipelines(line: Line, rng: Random) -> None:
    line.writer.write(chat(stream=False) * 2)
    for more in (chat(stream=rng.random() < 0.5), b"", b""):
        await line.ask(more)


async def hangs_up_at_once(line: Line, rng: Random) -> None:
    line.writer.write(chat(stream=rng.random() < 0.8))
    await line.writer.drain()


async def hangs_up_inside_the_answer(line: Line, rng: Random) -> None:
    line.writer.write(chat(stream=True))
    await asyncio.wait_for(line.reader.read(rng.randrange(1, 3000)), _PATIENCE)


async def stops_inside_its_request(line: Line, rng: Random) -> None:
    request = chat(stream=True)
    line.writer.write(request[: rng.randrange(len(request))])
    await line.writer.drain()
    await asyncio.sleep(rng.random() * 0.2)


async def reads_slowly(line: Line, rng: Random) -> None:
    line.writer.write(post("/v1/long", b'{"stream": true}'))
    for _ in range(rng.randrange(5, 40)):
        if not await asyncio.wait_for(line.reader.read(2048), _PATIENCE):
            return
        await asyncio.sleep(0.05)


async def sends_nonsense(line: Line, rng: Random) -> None:
    await line.ask(rng.choice((b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\n", b"POST /v1 HTTP/2.0\r\n\r\n")))


async def sends_much(line: Line, rng: Random) -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * rng.randrange(400_000)}]})
    await line.ask(post("/v1/chat/completions", body.encode()))


MANNERS: dict[Manner, int] = {
    asks_and_stays: 40,
    pipelines: 5,
    hangs_up_at_once: 10,
    hangs_up_inside_the_answer: 10,
    stops_inside_its_request: 5,
    reads_slowly: 6,
    sends_nonsense: 3,
    sends_much: 5,
}


# -- LLM services ----------------------------------------------------------------------------------------------


async def _trickles(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(SSE_HEAD)
    for _ in range(10):
        writer.write(framed(chat_chunk("word ")))
        await writer.drain()
        await asyncio.sleep(0.01)
    writer.write(_END)


async def _stalls(_: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Silent after its first words, until `idle` cuts it."""
    writer.write(SSE_HEAD + framed(chat_chunk("word ")))
    await reader.read(1)
    writer.close()


async def _long(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(SSE_HEAD)
    for _ in range(100):
        writer.write(_EVENTS)
        await writer.drain()
    writer.write(_END)


_BEGUN = SSE_HEAD + framed(chat_chunk(role=True)) + framed(chat_chunk("a"))

ANSWERS: dict[Answer, int] = {
    stream("Hello", " world"): 30,
    json_answer(CHAT): 20,
    _trickles: 10,
    json_answer(_LARGE): 4,
    json_answer(_ERROR, status=500): 4,
    json_answer(_ERROR, status=503, extra="retry-after: 1\r\n"): 2,
    json_answer({"error": {"message": "no"}}, status=400): 2,
    reset(): 4,
    reset(_BEGUN): 4,
    raw(_BEGUN + framed(chat_chunk("b"))[:20], close=True): 3,
    raw(SSE_HEAD + framed(b'data: {"error":{"message":"out of memory"}}\n\n') + LAST): 3,
    raw(_BEGUN + framed(b'data: {"error":{"message":"out of memory"}}\n\n') + LAST): 2,
    raw(_BEGUN + b"xyz\r\n"): 2,
    raw(SSE_HEAD + LAST): 2,
    raw(SSE_HEAD + _EVENTS + _END + b"HTTP/1.1 200 OK\r\n\r\n"): 2,
    raw(b"HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{}", close=True): 2,
    raw(b"HTTP/1.1 200 OK\r\n\r\n{}", close=True): 2,
    raw(b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"): 2,
    raw(b"SSH-2.0\r\n\r\n", close=True): 1,
    _stalls: 1,
    silence: 2,
}


class Script:
    """What a service answers: one of these kinds for each request, and a long stream where that is asked for."""

    def __init__(self, rng: Random, kinds: dict[Answer, int]) -> None:
        self._rng = rng
        self._choices, self._weights = list(kinds), list(kinds.values())
        self._writers: WeakSet[asyncio.StreamWriter] = WeakSet()

    async def __call__(
        self, received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._writers.add(writer)
        is_long = received.line.startswith("POST /v1/long")
        kind = _long if is_long else self._rng.choices(self._choices, self._weights)[0]
        await kind(received, reader, writer)

    def hang_up(self) -> None:
        """Closes every connection, as a service that restarts."""
        for writer in list(self._writers):
            writer.close()
