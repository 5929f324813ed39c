"""The app of the demo: asks for a stream, one connection a request, and notes what it got.

In:      the address of a data listener, a number of tokens.
Out:     an Answer, whatever happened: an error is a problem in words, never an exception.
Units:   monotonic seconds; `first_packet` is a length, from before the connection is opened to the first text.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from time import monotonic
from typing import NamedTuple

from sidecar.demo.verdict import Verdict
from sidecar.terms import Address, UnixAddress

PATIENCE = 60.0


class Answer(NamedTuple):
    """What became of one request."""

    ended_at: float
    service: str  # that answered; empty: none did
    attempts: int
    first_packet: float | None
    problem: str  # empty: a whole answer
    status: int = 0  # 0: no head came


async def ask(address: Address, tokens: int) -> Answer:
    """One request of the app."""
    asked = _Asked(tokens)
    try:
        async with asyncio.timeout(PATIENCE):
            problem = await asked.go(address)
    except TimeoutError:
        problem = f"no whole answer within {PATIENCE:g} s"
    except (OSError, ValueError, LookupError) as error:
        problem = f"{type(error).__name__}: {error}"
    service, attempts = asked.fields.get("x-sidecar-service", ""), asked.fields.get("x-sidecar-attempts", "0")
    return Answer(monotonic(), service, int(attempts), asked.first_packet, problem, asked.status)


class _Asked:
    """A request under way."""

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens
        self.status = 0
        self.fields: Mapping[str, str] = {}
        self.first_packet: float | None = None

    async def go(self, address: Address) -> str:
        """Why the answer is no whole one; empty: it is."""
        began, verdict = monotonic(), Verdict(self._tokens)
        reader, writer = await _connect(address)
        try:
            writer.write(request(self._tokens))
            self.status, self.fields = _head(await reader.readuntil(b"\r\n\r\n"))
            if self.status != 200:
                return f"status {self.status}"
            async for data in _chunks(reader):
                verdict.feed(data)
                if self.first_packet is None and verdict.begun:
                    self.first_packet = monotonic() - began
        except asyncio.IncompleteReadError:
            return verdict.problem() or "the body has no end"
        finally:
            writer.close()
        return verdict.problem()


def request(tokens: int) -> bytes:
    """A chat request for a stream."""
    body = json.dumps(
        {
            "model": "any",
            "stream": True,
            "max_tokens": tokens,
            "messages": [{"role": "user", "content": "Why do you wait for the first packet?"}],
        }
    ).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _connect(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(address, UnixAddress):
        return await asyncio.open_unix_connection(address.path)
    return await asyncio.open_connection(address.host, address.port)


def _head(head: bytes) -> tuple[int, Mapping[str, str]]:
    line, *rows = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)}
    return int(line.split(" ")[1]), fields


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """A chunked body; one that ends without its last chunk raises IncompleteReadError."""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
