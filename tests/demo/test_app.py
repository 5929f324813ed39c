"""What the demo's app notes of an answer, whatever it gets."""

from __future__ import annotations

import asyncio
import socket

import pytest

from sidecar.demo.app import ask
from sidecar.demo.http import chunk
from sidecar.terms import TcpAddress, UnixAddress

from .peer import run

HEAD = (
    b"HTTP/1.1 200 OK\r\nX-Sidecar-Service: a\r\nX-Sidecar-Attempts: 2\r\ntransfer-encoding: chunked\r\n\r\n"
)


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", "status 503"),
        (HEAD, "the answer is cut"),
        (HEAD + b"0\r\n\r\n", "the answer is cut"),
        (HEAD + b"5\r\ndata:", "the answer is cut"),
        (HEAD + chunk(b'data: {"error": {"message": 1}}\n\n'), "error in the stream: 1"),
        (HEAD + b"?\r\n", "ValueError"),
        (b"", "the answer is cut"),
    ],
)
def test_an_answer_that_is_not_whole_is_a_problem_and_no_exception(sent: bytes, problem: str) -> None:
    """The load goes on whatever happens to one request."""

    async def story() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(sent)
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            answer = await ask(TcpAddress(*server.sockets[0].getsockname()), tokens=1)
        assert problem in answer.problem
        assert (answer.service, answer.attempts) == (("a", 2) if sent.startswith(HEAD) else ("", 0))

    run(story())


def test_an_address_where_nobody_listens_is_a_problem_too() -> None:
    """TCP and Unix."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        refused = run(ask(TcpAddress(*held.getsockname()), tokens=1))
    missing = run(ask(UnixAddress("/nowhere/llm.sock"), tokens=1))
    assert "ConnectionRefusedError" in refused.problem
    assert "FileNotFoundError" in missing.problem
