"""A server that accepts and keeps its connections, and a user of a pool that notes what it hears."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sidecar.failure import Failure
from sidecar.outbox import Turn
from sidecar.terms import Address, TcpAddress
from sidecar.upstream.connection import UpstreamConnection
from sidecar.upstream.pool import IDLE_SECONDS, MAX_IDLE, EndpointPool
from sidecar.upstream.tls import TlsReader
from tests.daemon.waiting import until


class Peer:
    """What has been accepted, in order."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.ended: list[bool] = []
        self.address = TcpAddress("127.0.0.1", 0)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.writers)
        self.writers.append(writer)
        self.ended.append(False)
        try:
            await reader.read()
        except ConnectionError:
            pass
        finally:
            self.ended[number] = True
            writer.close()

    async def until(self, number: int, *, ended: bool) -> None:
        await until(lambda: len(self.ended) > number and self.ended[number] is ended)


@asynccontextmanager
async def peer(tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    served = Peer()
    server = await asyncio.start_server(served.accept, "127.0.0.1", 0, ssl=tls)
    served.address = TcpAddress("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield served
    finally:
        server.close()
        for writer in served.writers:
            writer.transport.abort()
        await asyncio.sleep(0)


def pool_at(
    address: Address,
    tls: TlsReader | None = None,
    server_name: str | None = None,
    *,
    max_idle: int = MAX_IDLE,
    idle_seconds: float = IDLE_SECONDS,
) -> EndpointPool:
    """A pool in the running loop."""
    loop = asyncio.get_running_loop()
    return EndpointPool(
        loop, Turn(loop), address, tls, server_name, max_idle=max_idle, idle_seconds=idle_seconds
    )


async def dialled(pool: EndpointPool, timeout: float = 5.0) -> UpstreamConnection | Failure:
    """What a dial comes to."""
    result: asyncio.Future[UpstreamConnection | Failure] = asyncio.get_running_loop().create_future()
    pool.dial(timeout, result.set_result)
    return await asyncio.wait_for(result, 10)


async def connected(pool: EndpointPool) -> UpstreamConnection:
    connection = await dialled(pool)
    assert isinstance(connection, UpstreamConnection), connection
    return connection


class User:
    """Whoever uses a connection."""

    def __init__(self) -> None:
        self.data = b""
        self.losses: list[Exception | None] = []

    def received(self, data: bytes) -> None:
        self.data += data

    def lost(self, error: Exception | None) -> None:
        self.losses.append(error)
