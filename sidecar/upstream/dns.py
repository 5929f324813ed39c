"""Names to addresses: every address of a service's host is an endpoint of its own.

In:      the host and port of services without `endpoints`.
Out:     `changed(service, addresses)` at first and whenever the set differs.
Rules:   a name is asked again when the shortest TTL of its addresses is over, but no sooner than LEAST and no later
         than MOST, and up to a tenth later, so that many sidecars do not ask together; where asking failed, after
         RETRY. A line of /etc/hosts has a TTL of 0, as c-ares tells it, like an answer that says so (Consul's do).
         A name with addresses of both families counts its IPv4 ones only, as `localhost` would otherwise have an
         endpoint where nothing listens. Where a name has never been resolved, the name itself stands in as the
         endpoint, so that the failure is seen as a connect failure; where it fails later, the last answer stays.
Note:    c-ares asks, as the system's own resolver tells no TTL: it reads /etc/hosts and resolv.conf (search domains,
         ndots; changes too). Some 2 MiB, imported when the first name is to be resolved. See docs/adr/0005.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sidecar.terms import TcpAddress

if TYPE_CHECKING:
    import aiodns

log = logging.getLogger(__name__)

LEAST = 1.0
MOST = 300.0
RETRY = 5.0
JITTER = 0.1
PATIENCE = 2.0  # seconds for one try of c-ares; it makes TRIES of them, at each server
TRIES = 2


class Found(NamedTuple):
    addresses: tuple[TcpAddress, ...]  # sorted
    ttl: int  # seconds, the shortest


class Lookup(Protocol):
    """Asks once."""

    async def find(self, host: str, port: int) -> Found:
        """Raises OSError where there is no address, ValueError for a name that nobody can be asked for."""

    async def close(self) -> None: ...


def found_in(nodes: Sequence[tuple[int, str, int]], port: int) -> Found:
    """Family, host and TTL of each address; IPv4 only where there are both."""
    chosen = [node for node in nodes if node[0] == socket.AF_INET] or list(nodes)
    hosts = sorted({host for _, host, _ in chosen})
    ttl = min((ttl for _, _, ttl in chosen), default=0)
    return Found(tuple(TcpAddress(host, port) for host in hosts), ttl)


class Ares:
    """Asks by c-ares."""

    def __init__(self, loop: asyncio.AbstractEventLoop, servers: Sequence[str] | None = None) -> None:
        """`servers`: `host:port` in place of those of resolv.conf."""
        self._loop = loop
        self._servers = servers
        self._resolver: aiodns.DNSResolver | None = None

    async def find(self, host: str, port: int) -> Found:
        import aiodns

        if self._resolver is None:
            self._resolver = aiodns.DNSResolver(self._servers, self._loop, timeout=PATIENCE, tries=TRIES)
        host.encode("idna")  # c-ares ends where a label is empty or too long
        try:
            answer = await self._resolver.getaddrinfo(host, port=port, type=socket.SOCK_STREAM)
        except aiodns.error.DNSError as error:
            raise OSError(*error.args) from error
        return found_in([(node.family, node.addr[0].decode(), node.ttl) for node in answer.nodes], port)

    async def close(self) -> None:
        if self._resolver is not None:
            await self._resolver.close()
            self._resolver = None


class Resolver:
    """Keeps the addresses of named services fresh."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        changed: Callable[[str, Sequence[TcpAddress]], None],
        rng: Random,
        lookup: Lookup | None = None,
    ) -> None:
        self._loop = loop
        self._changed = changed
        self._rng = rng
        self._lookup: Lookup = lookup or Ares(loop)
        self._tasks: dict[str, tuple[TcpAddress, asyncio.Task[None]]] = {}

    def watch(self, names: Mapping[str, TcpAddress]) -> None:
        """The services to resolve from now on; those that stay as they were go on undisturbed."""
        for service, (name, task) in list(self._tasks.items()):
            if names.get(service) != name:
                task.cancel()
                del self._tasks[service]
        for service, name in names.items():
            if service not in self._tasks:
                self._tasks[service] = (name, self._loop.create_task(self._keep(service, name)))

    async def stop(self) -> None:
        self.watch({})
        await self._lookup.close()

    async def _keep(self, service: str, name: TcpAddress) -> None:
        known: tuple[TcpAddress, ...] = ()
        while True:
            try:
                addresses, ttl = await self._lookup.find(name.host, name.port)
            except (OSError, ValueError):  # ValueError: a name that no resolver can be asked for
                await asyncio.sleep(self._later(RETRY))
                continue
            if addresses != known:
                known = addresses
                self._tell(service, addresses)
            await asyncio.sleep(self._later(min(max(ttl, LEAST), MOST)))

    def _later(self, seconds: float) -> float:
        return seconds * (1.0 + JITTER * self._rng.random())

    def _tell(self, service: str, addresses: Sequence[TcpAddress]) -> None:
        try:
            self._changed(service, addresses)
        except Exception:  # a bug must not end the asking, unseen
            log.exception("new addresses of %s could not be taken over", service)
