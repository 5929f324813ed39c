"""Names to addresses: every address of a service's host is an endpoint of its own.

In:      the host and port of services without `endpoints`.
Out:     `changed(service, addresses)` at first and whenever the set differs.
Limits:  asked again every REFRESH seconds (the system's resolver tells no TTL), after RETRY where it failed.
         A name with addresses of both families counts its IPv4 ones only, as `localhost` would otherwise have an
         endpoint where nothing listens. Where a name has never been resolved, the name itself stands in as the
         endpoint, so that the failure is seen as a connect failure; where it fails later, the last answer stays.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable, Mapping, Sequence

from sidecar.terms import TcpAddress

log = logging.getLogger(__name__)

REFRESH = 30.0
RETRY = 5.0


def is_literal(host: str) -> bool:
    """Whether the host is an IP address, so that nothing has to be asked."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def resolve(loop: asyncio.AbstractEventLoop, host: str, port: int) -> tuple[TcpAddress, ...]:
    """Every address of the name, sorted; IPv4 only where there are both. Raises socket.gaierror."""
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    by_family: dict[int, set[str]] = {}
    for family, _, _, _, where in found:
        by_family.setdefault(family, set()).add(str(where[0]))
    hosts = by_family.get(socket.AF_INET) or by_family.get(socket.AF_INET6) or set()
    return tuple(TcpAddress(h, port) for h in sorted(hosts))


class Resolver:
    """Keeps the addresses of named services fresh."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, changed: Callable[[str, Sequence[TcpAddress]], None]
    ) -> None:
        self._loop = loop
        self._changed = changed
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

    def stop(self) -> None:
        self.watch({})

    async def _keep(self, service: str, name: TcpAddress) -> None:
        known: tuple[TcpAddress, ...] = ()
        while True:
            try:
                addresses = await resolve(self._loop, name.host, name.port)
            except (OSError, ValueError):  # ValueError: a name that no resolver can be asked for
                await asyncio.sleep(RETRY)
                continue
            if addresses != known:
                known = addresses
                self._tell(service, addresses)
            await asyncio.sleep(REFRESH)

    def _tell(self, service: str, addresses: Sequence[TcpAddress]) -> None:
        try:
            self._changed(service, addresses)
        except Exception:  # a bug must not end the asking, unseen
            log.exception("new addresses of %s could not be taken over", service)
