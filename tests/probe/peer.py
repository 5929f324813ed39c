"""A real HTTP peer for probes: answers as it is told, on loopback or a Unix socket."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from sidecar.policy.snapshot import ActiveHealth, Service, Snapshot, Url
from sidecar.terms import Address, TcpAddress, UnixAddress

SERVICE = "llm"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

# Longer than any test may take; whoever waits that long has found a defect.
PATIENCE = 20.0


@dataclass
class Peer:
    """What it answers, and what it saw. An answer of None: silence."""

    address: Address
    answer: bytes | None = OK
    ends: bool = False  # hangs up itself
    heads: list[bytes] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            self.asked.set()
            if self.answer is not None:
                writer.write(self.answer)
            if self.ends or self.answer == b"":
                writer.close()
                await writer.wait_closed()
            await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.hung_up.set()
            writer.transport.abort()


@asynccontextmanager
async def listening(
    answer: bytes | None = OK, *, path: Path | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Peer]:
    peer = Peer(TcpAddress("127.0.0.1", 0), answer)
    if path is not None:
        server = await asyncio.start_unix_server(peer.serve, path)
        peer.address = UnixAddress(str(path))
    else:
        server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=tls)
        peer.address = TcpAddress("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield peer
    finally:
        server.close()


def service_at(
    *addresses: Address,
    scheme: str = "http",
    host: str = "llm.test",
    check: ActiveHealth | None = ActiveHealth(),  # noqa: B008 - frozen
    set_headers: tuple[tuple[str, str], ...] = (),
) -> Service:
    url = Url(scheme=scheme, host=host, port=8000, path="/v1", authority=f"{host}:8000")
    return Service(SERVICE, url, endpoints=addresses, active_health=check, set_headers=set_headers)


def snapshot(*services: Service) -> Snapshot:
    return Snapshot(generation=1, services={service.name: service for service in services}, routes=())


def run(story: Callable[[], Awaitable[None]]) -> None:
    """Plays a story on the daemon's kind of loop and on the plain one, within PATIENCE each."""

    async def patiently() -> None:
        async with asyncio.timeout(PATIENCE):
            await story()

    for new_loop in (uvloop.new_event_loop, asyncio.new_event_loop):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(patiently())
