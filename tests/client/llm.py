"""A small HTTP server on a Unix socket that answers like an LLM service, for the SDKs to talk to."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Llm:
    """Where it listens, and the requests that came: path, Host field and body."""

    socket: str
    requests: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)


@contextmanager
def serving(folder: Path) -> Iterator[Llm]:
    """Serves from a loop in a thread, so that blocking clients can be tested too."""
    llm, started = Llm(f"{folder}/llm.sock"), threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_unix_server(lambda r, w: _connection(llm, r, w), llm.socket)
        started.set()
        await stop.wait()
        server.close()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10)
    try:
        yield llm
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


async def _connection(llm: Llm, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One exchange, then the connection is closed."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *fields = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in fields)}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        path = first.split()[1]
        llm.requests.append((path, headers["host"], body))
        writer.write(_answer(path, stream=bool(body.get("stream"))))
        await writer.drain()
    finally:
        writer.close()


def _answer(path: str, *, stream: bool) -> bytes:
    events = _message_events() if path == "/v1/messages" else _chat_events()
    kind = "text/event-stream" if stream else "application/json"
    body = events if stream else json.dumps(_message() if path == "/v1/messages" else _chat()).encode()
    head = (
        f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


def _chat() -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def _chat_events() -> bytes:
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks = [
        base | {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
        for text in ("hel", "lo")
    ]
    chunks.append(base | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return b"".join(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks) + b"data: [DONE]\n\n"


def _message() -> dict[str, Any]:
    return {
        "id": "m1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def _message_events() -> bytes:
    start = _message() | {"content": [], "stop_reason": None}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
            for text in ("hel", "lo")
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 1},
        },
        {"type": "message_stop"},
    ]
    return b"".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events)
