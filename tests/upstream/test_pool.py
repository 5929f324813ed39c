"""Connections of one endpoint: which is used again, for how long, and why there is none."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from time import monotonic

import pytest

from sidecar.failure import Failure, FailureKind
from sidecar.policy.snapshot import Tls
from sidecar.terms import Address, TcpAddress, UnixAddress
from sidecar.upstream.connection import UpstreamConnection
from sidecar.upstream.pool import IDLE_SECONDS, EndpointPool
from sidecar.upstream.tls import TlsReader
from tests.daemon.loop import run
from tests.daemon.sidecar import free_port
from tests.daemon.waiting import until

from .authority import Authority, Pair, server_context
from .peer import User, connected, dialled, peer, pool_at


def pool_of(address: Address, tls: Tls | None = None, name: str | None = None) -> EndpointPool:
    reader = TlsReader(tls, monotonic()) if tls is not None else None
    return pool_at(address, reader, name)


async def failed(pool: EndpointPool, timeout: float = 5.0) -> Failure:
    result = await dialled(pool, timeout)
    assert isinstance(result, Failure), result
    return result


def test_the_connection_used_last_is_used_first() -> None:
    """So those that a surge has left behind grow old and go."""

    async def test() -> None:
        async with peer() as server:
            pool = pool_of(server.address)
            one, other = await connected(pool), await connected(pool)
            one.release(monotonic())
            other.release(monotonic())
            assert pool.acquire(monotonic()) is other
            assert pool.acquire(monotonic()) is one
            assert pool.acquire(monotonic()) is None
            one.abort()
            other.abort()

    run(test())


def test_only_so_many_idle_connections_are_kept() -> None:
    async def test() -> None:
        async with peer() as server:
            pool = pool_at(server.address, max_idle=2)
            connections = [await connected(pool) for _ in range(3)]
            for connection in connections:
                connection.release(monotonic())
            await server.until(0, ended=True)  # the one that has been idle longest
            assert server.ended == [True, False, False]
            pool.close()

    run(test())


def test_an_idle_connection_that_is_too_old_is_not_used() -> None:
    """The other side may be about to close it."""

    async def test() -> None:
        async with peer() as server:
            pool = pool_of(server.address)
            (await connected(pool)).release(monotonic())
            assert pool.acquire(monotonic() + IDLE_SECONDS) is None
            await server.until(0, ended=True)
            pool.close()

    run(test())


def test_an_idle_connection_ends_by_itself_when_nobody_asks_for_it() -> None:
    async def test() -> None:
        async with peer() as server:
            pool = pool_at(server.address, idle_seconds=0.05)
            first, second = await connected(pool), await connected(pool)
            now = monotonic()
            first.release(now)
            second.release(now + 0.03)
            await server.until(0, ended=True)
            assert server.ended == [True, False]
            await server.until(1, ended=True)

    run(test())


def test_a_closed_pool_keeps_nothing_and_lets_what_is_in_use_end() -> None:
    """A policy took the endpoint away in the middle of an exchange."""

    async def test() -> None:
        async with peer() as server:
            pool = pool_of(server.address)
            idle, busy = await connected(pool), await connected(pool)
            idle.release(monotonic())
            busy.user = User()
            pool.close()
            await server.until(0, ended=True)
            assert server.ended == [True, False]
            busy.release(monotonic())
            await server.until(1, ended=True)

    run(test())


@pytest.mark.parametrize("what", ["bytes", "end", "reset"])
def test_bytes_or_an_end_on_an_idle_connection_close_it(what: str) -> None:
    """Whatever is said there would be taken for the answer to the next request."""

    async def test() -> None:
        async with peer() as server:
            pool = pool_of(server.address)
            (await connected(pool)).release(monotonic())
            await server.until(0, ended=False)
            if what == "bytes":
                server.writers[0].write(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
            elif what == "end":
                server.writers[0].write_eof()
            else:
                server.writers[0].transport.abort()
            await server.until(0, ended=True)
            await until(lambda: not pool._idle)

    run(test())


def test_a_request_that_has_not_all_gone_out_spoils_its_connection() -> None:
    """The service answered early: the rest of the request would meet the next exchange."""

    async def test() -> None:
        async with peer() as server:
            pool = pool_of(server.address)
            connection = await connected(pool)
            await server.until(0, ended=False)
            server.writers[0].transport.pause_reading()  # type: ignore[attr-defined]
            connection.transport.write(bytes(20_000_000))
            assert connection.transport.get_write_buffer_size()
            connection.release(monotonic())
            assert pool.acquire(monotonic()) is None

    run(test())


def test_a_user_hears_of_the_loss_once_and_of_nothing_after_its_own_end() -> None:
    async def test() -> None:
        async with peer() as server:
            pool = pool_of(server.address)
            user, done = User(), User()
            one, other = await connected(pool), await connected(pool)
            one.user, other.user = user, done
            other.abort()
            await server.until(1, ended=True)
            server.writers[0].write(b"x")
            server.writers[0].write_eof()
            await server.until(0, ended=True)
            assert (user.data, user.losses) == (b"x", [None])
            assert (done.data, done.losses) == (b"", [])

    run(test())


def test_a_dial_that_is_cancelled_calls_nobody_and_leaves_no_connection() -> None:
    async def test() -> None:
        async with peer() as server:
            pool = pool_of(server.address)
            results: list[object] = []
            for turns in range(6):  # at every step of its way
                dial = pool.dial(5.0, results.append)
                for _ in range(turns):
                    await asyncio.sleep(0)
                dial.cancel()
            last = await connected(pool)  # accepted after all others
            own = last.transport.get_extra_info("sockname")
            await until(lambda: own in [w.get_extra_info("peername") for w in server.writers])
            for result in (*results, last):
                assert isinstance(result, UpstreamConnection)  # was there before the end
                result.abort()
            for number in range(len(server.ended)):
                await server.until(number, ended=True)
            assert not pool._dials

    run(test())


def test_a_refused_connection_says_so() -> None:
    async def test() -> None:
        failure = await failed(pool_of(TcpAddress("127.0.0.1", free_port())))
        assert failure.kind is FailureKind.CONNECT_FAILURE
        assert "refused" in failure.detail.lower()

    run(test())


def test_a_socket_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    async def test() -> None:
        failure = await failed(pool_of(UnixAddress(str(tmp_path / "none.sock"))))
        assert failure.kind is FailureKind.CONNECT_FAILURE
        assert "no such file" in failure.detail.lower()

    run(test())


@pytest.mark.parametrize("name", ["nobody.invalid", "a..b", "x" * 80])
def test_a_name_that_cannot_be_resolved_is_a_failed_connection(name: str) -> None:
    """Also where Python refuses even to ask: that is a ValueError, and the request must not hang."""

    async def test() -> None:
        failure = await failed(pool_of(TcpAddress(name, 80)))
        assert failure.kind is FailureKind.CONNECT_FAILURE
        assert failure.detail

    run(test())


def test_an_endpoint_that_never_answers_the_dial_is_given_up_in_time() -> None:
    async def test() -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)  # one connection waits, the others are not answered
            pool = pool_of(TcpAddress("127.0.0.1", listener.getsockname()[1]))
            waiting = [await dialled(pool, 0.05) for _ in range(4)]
            failure = waiting[-1]
            assert isinstance(failure, Failure)
            assert failure == Failure(
                FailureKind.CONNECT_FAILURE, detail="no connection within 0.05 s", silent=True
            )
            for connection in waiting:
                if isinstance(connection, UpstreamConnection):
                    connection.abort()

    run(test())


# -- TLS -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def localhost(authority: Authority) -> Pair:
    return authority.issue("localhost", "DNS:localhost")


def test_a_certificate_of_the_right_authority_for_the_right_name_is_accepted(
    authority: Authority, localhost: Pair
) -> None:
    async def test() -> None:
        async with peer(server_context(localhost)) as server:
            pool = pool_of(server.address, Tls(ca_file=str(authority.ca)), "localhost")
            connection = await connected(pool)
            assert connection.transport.get_extra_info("ssl_object").version() >= "TLSv1.2"
            connection.abort()
            await server.until(0, ended=True)

    run(test())


@pytest.mark.parametrize(
    ("trusted", "name", "words"),
    [(False, "localhost", "certificate refused: "), (True, "elsewhere.example", "elsewhere.example")],
    ids=["unknown_authority", "other_name"],
)
def test_a_certificate_that_is_not_to_be_trusted_is_a_tls_error_with_its_reason(
    trusted: bool, name: str, words: str, authority: Authority, localhost: Pair
) -> None:
    async def test() -> None:
        async with peer(server_context(localhost)) as server:
            tls = Tls(ca_file=str(authority.ca) if trusted else "")
            failure = await failed(pool_of(server.address, tls, name))
            assert failure.kind is FailureKind.TLS_ERROR
            assert words in failure.detail

    run(test())


@pytest.mark.parametrize("encrypted", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize("ended", ["in_the_same_turn", "before"])
def test_what_is_sent_over_a_connection_that_ends_is_dropped_without_a_word(
    encrypted: bool, ended: str, authority: Authority, localhost: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    """Of one that has ended each transport says so in its own way."""

    async def test() -> None:
        async with peer(server_context(localhost) if encrypted else None) as server:
            tls = Tls(ca_file=str(authority.ca)) if encrypted else None
            pool = pool_of(server.address, tls, "localhost" if encrypted else None)
            connection = await connected(pool)
            connection.release(monotonic())
            assert pool.acquire(monotonic()) is connection
            connection.user = user = User()
            if ended == "before":
                server.writers[0].transport.abort()
                await until(lambda: bool(user.losses))
            connection.send(b"request")
            if ended == "in_the_same_turn":
                connection.abort()
            await server.until(0, ended=True)
            pool.close()

    run(test())
    assert caplog.records == []


def test_without_verification_any_certificate_will_do(localhost: Pair) -> None:
    async def test() -> None:
        async with peer(server_context(localhost)) as server:
            pool = pool_of(server.address, Tls(insecure_skip_verify=True), "elsewhere.example")
            (await connected(pool)).abort()
            await server.until(0, ended=True)

    run(test())


def test_a_server_that_speaks_no_tls_is_a_tls_error() -> None:
    async def test() -> None:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await reader.read()
            writer.close()

        server = await asyncio.start_server(speak, "127.0.0.1", 0)
        address = TcpAddress("127.0.0.1", server.sockets[0].getsockname()[1])
        failure = await failed(pool_of(address, Tls(), "localhost"))
        assert failure.kind is FailureKind.TLS_ERROR
        assert failure.detail.startswith("TLS: ")
        server.close()

    run(test())


def test_a_handshake_that_stalls_ends_with_the_connect_timeout() -> None:
    async def test() -> None:
        async with peer() as server:
            failure = await failed(pool_of(server.address, Tls(), "localhost"), 0.1)
            assert failure == Failure(
                FailureKind.CONNECT_FAILURE, detail="no connection within 0.1 s", silent=True
            )
            await server.until(0, ended=True)

    run(test())
