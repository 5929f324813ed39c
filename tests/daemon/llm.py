"""A scripted LLM service: a real HTTP/1.1 server on loopback that answers byte for byte as a test says.

In:      answers, one for each request in order; the last one goes on for all further requests.
Out:     what was received, and for each answer whether the caller hung up before its end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Received:
    """One request as it arrived."""

    line: str
    fields: list[tuple[str, str]]
    body: bytes
    connection: int  # which connection it came on, from 0
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    def get(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = Callable[[Received, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Llm:
    """`async with Llm(answer, …) as llm:` serves on `llm.url` (…/v1)."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.received: list[Received] = []
        self.asked = asyncio.Event()
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.address = ""

    async def __aenter__(self) -> Llm:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"http://{self.address}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        number, self.connections = self.connections, self.connections + 1
        try:
            while (received := await self._read(reader, number)) is not None:
                index = min(len(self.received), len(self.answers) - 1)
                self.received.append(received)
                self.asked.set()
                await self.answers[index](received, reader, writer)
                if writer.is_closing():
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            if self.received:
                self.received[-1].hung_up.set()
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, number: int) -> Received | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        line, *rest = head.decode("latin-1").split("\r\n")[:-2]
        fields = [(name.lower(), value.strip()) for name, _, value in (row.partition(":") for row in rest)]
        length = int(dict(fields).get("content-length", "0"))
        return Received(line, fields, await reader.readexactly(length), number)


def raw(*pieces: bytes, close: bool = False) -> Answer:
    """These bytes, a piece a write."""

    async def answer(_: Received, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if close:
            writer.close()

    return answer


def json_answer(value: object, status: int = 200, extra: str = "") -> Answer:
    body = json.dumps(value).encode()
    head = (
        f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{extra}content-length: {len(body)}\r\n\r\n"
    )
    return raw(head.encode() + body)


def chat_chunk(text: str | None = None, *, role: bool = False, finish: str | None = None) -> bytes:
    delta: dict[str, str] = {}
    if role:
        delta["role"] = "assistant"
    if text is not None:
        delta["content"] = text
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def framed(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
DONE = b"data: [DONE]\n\n"
LAST = b"0\r\n\r\n"


def stream(*texts: str) -> Answer:
    """A whole chat stream."""
    events = [chat_chunk(role=True), *(chat_chunk(t) for t in texts), chat_chunk(finish="stop"), DONE]
    return raw(SSE_HEAD, *(framed(event) for event in events), LAST)


def then_silence(*pieces: bytes) -> Answer:
    """These bytes, then nothing until the caller hangs up."""

    async def answer(received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
        try:
            await reader.read(1)
        finally:
            received.hung_up.set()
        writer.close()

    return answer


silence = then_silence()


def reset(*pieces: bytes) -> Answer:
    """These bytes, then a reset of the connection."""

    async def answer(_: Received, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        writer.transport.abort()

    return answer


CHAT = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
}
