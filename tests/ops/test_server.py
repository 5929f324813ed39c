"""The ops server over real sockets, on both loops."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from sidecar.ops.page import ASSETS
from sidecar.ops.server import OpsServer, Sources
from sidecar.terms import Address, TcpAddress, UnixAddress

LOCAL = TcpAddress("127.0.0.1", 0)
ANYWHERE = TcpAddress("0.0.0.0", 0)


class World:
    """What the server is asked about, and a way to ask it."""

    def __init__(self, bound: list[Address]) -> None:
        self.bound = bound
        self.not_ready: str | None = None

    @property
    def port(self) -> int:
        assert isinstance(self.bound[0], TcpAddress)
        return self.bound[0].port

    async def send(self, head: str) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own."""
        return await ask(*await asyncio.open_connection("127.0.0.1", self.port), head)

    async def get(self, path: str, host: str = "localhost") -> tuple[int, dict[str, str], bytes]:
        return await self.send(
            f"GET {path} HTTP/1.1\r\nhost: {host}:{self.port}\r\nconnection: close\r\n\r\n"
        )


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str
) -> tuple[int, dict[str, str], bytes]:
    writer.write(head.encode())
    raw = await reader.read()
    writer.close()
    await writer.wait_closed()
    first, _, body = raw.partition(b"\r\n\r\n")
    line, *fields = first.decode().split("\r\n")
    return int(line.split()[1]), dict(field.split(": ", 1) for field in fields), body


@asynccontextmanager
async def serving(
    *addresses: Address, hosts: tuple[str, ...] = (), origins: tuple[str, ...] = ()
) -> AsyncIterator[World]:
    world = World([])
    sources = Sources(
        not_ready=lambda: world.not_ready,
        metrics=lambda accept: (f"metrics for {accept}".encode(), "text/plain; version=0.0.4"),
        state=lambda: {"version": "1.2"},
        policy=lambda: {"generation": 7},
    )
    server = OpsServer(addresses, sources, hosts=hosts, origins=origins)
    world.bound = await server.start()
    try:
        yield world
    finally:
        await server.stop()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[None]]], None]:
    def running(scenario: Callable[[], Awaitable[None]]) -> None:
        async def main() -> None:
            await scenario()

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main())

    return running


Run = Callable[[Callable[[], Awaitable[None]]], None]


def test_the_probes_answer(run: Run) -> None:
    """Ready says why not; alive is alive even then."""

    async def scenario() -> None:
        async with serving(LOCAL) as world:
            assert (await world.get("/livez"))[0::2] == (200, b"ok\n")
            assert (await world.get("/readyz"))[0::2] == (200, b"ok\n")
            world.not_ready = "draining"
            assert (await world.get("/readyz"))[0::2] == (503, b"draining\n")
            assert (await world.get("/livez"))[0] == 200

    run(scenario)


def test_metrics_and_state_come_from_their_sources(run: Run) -> None:
    """The scraper's Accept field is passed on."""

    async def scenario() -> None:
        async with serving(LOCAL) as world:
            status, fields, body = await world.send(
                "GET /metrics HTTP/1.1\r\nhost: localhost\r\naccept: x/y\r\nconnection: close\r\n\r\n"
            )
            assert (status, fields["content-type"], body) == (
                200,
                "text/plain; version=0.0.4",
                b"metrics for x/y",
            )
            status, fields, body = await world.get("/api/state")
            assert (status, fields["content-type"]) == (200, "application/json")
            assert json.loads(body) == {"version": "1.2"}
            status, fields, body = await world.get("/api/policy")
            assert (status, fields["content-type"]) == (200, "application/json")
            assert json.loads(body) == {"generation": 7}

    run(scenario)


def test_the_page_needs_nothing_from_elsewhere_and_nothing_inline(run: Run) -> None:
    """Everything it names is served here, under a policy that allows no more."""

    async def scenario() -> None:
        async with serving(LOCAL) as world:
            status, fields, body = await world.get("/")
            assert (status, fields["content-type"]) == (200, "text/html; charset=utf-8")
            assert "default-src 'none'" in fields["content-security-policy"]
            page = body.decode()
            named = re.findall(r'(?:href|src)="([^"]+)"', page)
            for script in (asset.body.decode() for asset in ASSETS.values()):
                named += [f"/{name}" for name in re.findall(r'from "\./([^"]+)"', script)]
            assert {"/app.js", "/app.css", "/icon.svg"} <= set(named)
            for path in named:
                assert (await world.get(path))[0] == 200, path
            assert not re.search(r"<script(?![^>]*src=)|<style|style=|\son\w+=", page)

    run(scenario)


def test_an_address_that_is_not_loopback_serves_probes_and_metrics_only(run: Run) -> None:
    """The kubelet comes by the pod's IP; so may anybody else."""

    async def scenario() -> None:
        async with serving(ANYWHERE) as world:
            for path in ("/livez", "/readyz", "/metrics"):
                assert (await world.get(path, host="10.1.2.3"))[0] == 200, path
            for path in ("/", "/app.js", "/api/state", "/api/policy", "/api/", "/metrics/"):
                assert (await world.get(path, host="10.1.2.3"))[0] == 404, path

    run(scenario)


def test_a_loopback_address_answers_only_to_its_names(run: Run) -> None:
    """A web page may point its own name at 127.0.0.1."""

    async def scenario() -> None:
        async with serving(LOCAL, hosts=("sidecar.test",)) as world:
            for path in ("/", "/api/state", "/api/policy", "/metrics", "/livez"):
                assert (await world.get(path, host="evil.example"))[0] == 421, path
            for host in ("localhost", "127.0.0.1", "[::1]", "SIDECAR.test"):
                assert (await world.get("/livez", host=host))[0] == 200, host

    run(scenario)


@pytest.mark.parametrize("address", [LOCAL, ANYWHERE], ids=["loopback", "anywhere"])
def test_a_page_of_another_origin_is_refused_unless_it_is_allowed(run: Run, address: TcpAddress) -> None:
    """As on the app's side: what runs here is no business of a page that somebody here has open."""

    async def scenario() -> None:
        async with serving(address, origins=("https://app.example",)) as world:
            for origin, status in (("http://evil.example", 403), ("null", 403), ("https://app.example", 200)):
                head = f"GET /metrics HTTP/1.1\r\nhost: localhost\r\norigin: {origin}\r\nconnection: close\r\n\r\n"
                assert (await world.send(head))[0] == status, origin

    run(scenario)


def test_over_a_unix_socket_the_file_mode_has_decided(run: Run, tmp_path: Path) -> None:
    """Neither the host nor the origin tells anything there."""
    path = tmp_path / "ops.sock"

    async def scenario() -> None:
        async with serving(UnixAddress(str(path))):
            head = "GET /api/state HTTP/1.1\r\nhost: evil\r\norigin: http://evil\r\nconnection: close\r\n\r\n"
            assert (await ask(*await asyncio.open_unix_connection(str(path)), head))[0] == 200

    run(scenario)


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS"])
def test_only_reading_is_served(run: Run, method: str) -> None:
    """Changes go through the admin API."""

    async def scenario() -> None:
        async with serving(LOCAL) as world:
            head = f"{method} /api/state HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
            status, fields, _ = await world.send(head)
            assert (status, fields["allow"]) == (405, "GET, HEAD")

    run(scenario)


def test_head_has_no_body(run: Run) -> None:
    """Load balancers probe with it."""

    async def scenario() -> None:
        async with serving(LOCAL) as world:
            head = "HEAD /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
            status, fields, body = await world.send(head)
            assert (status, fields["content-length"], body) == (200, "3", b"")

    run(scenario)


def test_a_connection_is_used_again(run: Run) -> None:
    """The page polls every second."""

    async def scenario() -> None:
        async with serving(LOCAL) as world:
            reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
            for _ in range(3):
                writer.write(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
                assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200 ")
            status, fields, _ = await ask(reader, writer, "GET /livez HTTP/1.0\r\nhost: localhost\r\n\r\n")
            assert (status, fields["connection"]) == (200, "close")

    run(scenario)


def test_a_head_that_is_too_long_is_refused(run: Run) -> None:
    """Nobody needs 8 KiB to ask for a page."""

    async def scenario() -> None:
        async with serving(LOCAL) as world:
            head = f"GET / HTTP/1.1\r\nhost: localhost\r\nx: {'y' * 9000}"
            assert (await world.send(head))[0] == 431

    run(scenario)


def test_connections_are_bounded(run: Run) -> None:
    """Descriptors are shared with the data path."""

    async def scenario() -> None:
        async with serving(LOCAL) as world:
            held = []
            for _ in range(64):
                reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
                writer.write(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
                await reader.readuntil(b"ok\n")
                held.append(writer)
            reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
            assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
            for open_one in [*held, writer]:
                open_one.close()
                await open_one.wait_closed()

    run(scenario)


def test_a_unix_socket_is_private_and_replaces_a_dead_one(run: Run, tmp_path: Path) -> None:
    """A crash leaves its file behind; a live process keeps its own."""
    address = UnixAddress(str(tmp_path / "ops.sock"))
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(address.path)

    async def scenario() -> None:
        async with serving(address) as world:
            assert world.bound == [address]
            assert stat.S_IMODE(os.stat(address.path).st_mode) == 0o600
            streams = await asyncio.open_unix_connection(address.path)
            status, _, _ = await ask(
                *streams, "GET /livez HTTP/1.1\r\nhost: any\r\nconnection: close\r\n\r\n"
            )
            assert status == 200
            with pytest.raises(OSError, match="live process"):
                async with serving(LOCAL, address):
                    pass

    run(scenario)


def test_a_file_that_is_no_socket_is_left_alone(run: Run, tmp_path: Path) -> None:
    """Somebody mistyped a path."""
    precious = tmp_path / "precious"
    precious.write_text("data")

    async def scenario() -> None:
        with pytest.raises(FileExistsError):
            async with serving(UnixAddress(str(precious))):
                pass

    run(scenario)
    assert precious.read_text() == "data"


def test_stopping_does_not_wait_for_a_silent_peer(run: Run) -> None:
    """A browser keeps its connection open for minutes."""

    async def scenario() -> None:
        async with serving(LOCAL) as world:
            reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
            writer.write(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await reader.readuntil(b"ok\n")
        with contextlib.suppress(ConnectionResetError):  # or a plain end, by the loop
            assert await reader.read() == b""
        writer.close()

    run(scenario)
