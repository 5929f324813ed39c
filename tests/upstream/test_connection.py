"""One connection to an endpoint, between the moment it has a request to send and the moment that is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from sidecar.upstream.connection import UpstreamConnection
from sidecar.upstream.pool import EndpointPool
from tests.daemon.loop import run

from .peer import User, connected, peer, pool_at


def test_a_new_connection_sends_at_once() -> None:
    """It has cost a turn of the loop and more already."""

    async def test() -> None:
        async with peer() as server:
            connection = await connected(pool_at(server.address))
            user = connection.user = User()
            connection.send(b"request")
            connection.data_received(b"answer")
            assert (user.data, user.losses) == (b"answer", [])
            connection.abort()

    run(test())


@asynccontextmanager
async def asking() -> AsyncIterator[tuple[EndpointPool, UpstreamConnection, User]]:
    """A connection used before, whose next request waits for the end of the loop's turn."""
    async with peer() as server:
        pool = pool_at(server.address)
        connection = await connected(pool)
        connection.release(monotonic())
        assert pool.acquire(monotonic()) is connection
        user = connection.user = User()
        connection.send(b"request")
        yield pool, connection, user
        await server.until(0, ended=True)
        assert pool.acquire(monotonic()) is None


def test_bytes_from_before_the_request_was_sent_do_not_answer_it() -> None:
    """They came while the connection was idle, and were read in the turn in which it was taken."""

    async def test() -> None:
        async with asking() as (_, connection, user):
            connection.data_received(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
            assert user.data == b""
            assert [str(loss) for loss in user.losses] == ["the endpoint spoke before it was asked"]

    run(test())


def test_a_connection_is_not_used_again_while_it_has_something_to_send() -> None:
    async def test() -> None:
        async with asking() as (pool, connection, _):
            connection.release(monotonic())
            assert pool.acquire(monotonic()) is None

    run(test())
