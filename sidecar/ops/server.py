"""The ops server: a live page, what it reads (/api/state, /api/policy), /metrics, /livez, /readyz over plain HTTP.

In:      addresses; callables that are asked at each request.
Out:     answers. An address that is not loopback (the kubelet and Prometheus come to the pod's IP) serves
         /livez, /readyz and /metrics, and nothing else.
Limits:  64 connections, heads of 8 KiB, ten seconds for a head or for taking an answer.
Errors:  a loopback TCP address answers only to its own names (421 else): a web page that rebinds its DNS
         name to 127.0.0.1 learns nothing. Over TCP a page of another origin is refused (403) unless it is allowed, as
         on the app's side.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from sidecar.frozen import Frozen
from sidecar.ops import page
from sidecar.ops.http import Answer, Request, parse, plain, render
from sidecar.ops.listen import listen
from sidecar.terms import Address, TcpAddress, is_loopback

_MAX_HEAD = 8 * 1024
_MAX_CONNECTIONS = 64
_PATIENCE = 10.0
_OWN_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))


class Sources(Frozen):
    """Where the answers come from."""

    not_ready: Callable[[], str | None]  # why no request should come now; None: ready
    metrics: Callable[[str], tuple[bytes, str]]  # Accept field -> body, content type
    state: Callable[[], Mapping[str, object]]
    policy: Callable[[], Mapping[str, object]]


class OpsServer:
    def __init__(
        self,
        addresses: Sequence[Address],
        sources: Sources,
        *,
        hosts: Sequence[str] = (),
        origins: Sequence[str] = (),
    ) -> None:
        self._addresses = addresses
        self._sources = sources
        self._origins = frozenset(origins)
        self._hosts = _OWN_NAMES | {host.strip("[]").lower() for host in hosts}
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.StreamWriter] = set()

    async def start(self) -> list[Address]:
        """The addresses as bound, in the order given. All or none: what was bound is closed again."""
        bound = []
        try:
            for address in self._addresses:
                serve = partial(self._serve, address)
                server, actual = await listen(address, serve, limit=_MAX_HEAD)
                self._servers.append(server)
                bound.append(actual)
        except OSError:
            await self.stop()
            raise
        return bound

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        for writer in list(self._connections):
            writer.transport.abort()  # not close: a peer that reads nothing must not delay the end
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()

    async def _serve(
        self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._connections.add(writer)
        try:
            with contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError):
                while await self._exchange(address, reader, writer):
                    pass
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _exchange(
        self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """One request and its answer; whether another may follow."""
        request: Request | Answer
        if len(self._connections) > _MAX_CONNECTIONS:
            request = plain(503, "too many connections")
        else:
            request = await self._read(reader)
        if isinstance(request, Answer):
            writer.write(render(request, with_body=True, keep_alive=False))
            keep_alive = False
        else:
            answer = self._answer(request, address)
            keep_alive = request.keep_alive
            writer.write(render(answer, with_body=request.method != "HEAD", keep_alive=keep_alive))
        async with asyncio.timeout(_PATIENCE):
            await writer.drain()
        return keep_alive

    async def _read(self, reader: asyncio.StreamReader) -> Request | Answer:
        try:
            async with asyncio.timeout(_PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return plain(431, "the head is too long")
        return parse(head)

    def _answer(self, request: Request, address: Address) -> Answer:
        if request.method not in ("GET", "HEAD"):
            return Answer(405, b"only GET and HEAD\n", fields=(("allow", "GET, HEAD"),))
        local, over_tcp = is_loopback(address), isinstance(address, TcpAddress)
        if local and over_tcp and request.host not in self._hosts:
            return plain(421, "this name is not served here")
        if over_tcp and request.origin is not None and request.origin not in self._origins:
            return plain(403, "pages of this origin are not served here")
        match request.path:
            case "/livez":
                return plain(200, "ok")
            case "/readyz":
                why = self._sources.not_ready()
                return plain(200, "ok") if why is None else plain(503, why)
            case "/metrics":
                body, content_type = self._sources.metrics(request.accept)
                return Answer(200, body, content_type)
        return self._local_answer(request.path) if local else plain(404, "not found")

    def _local_answer(self, path: str) -> Answer:
        if path == "/api/state":
            return _data(self._sources.state())
        if path == "/api/policy":
            return _data(self._sources.policy())
        if (asset := page.ASSETS.get(path)) is not None:
            return Answer(200, asset.body, asset.content_type)
        return plain(404, "not found")


def _data(found: Mapping[str, object]) -> Answer:
    body = json.dumps(found, separators=(",", ":"), default=str)
    return Answer(200, body.encode(), "application/json")
