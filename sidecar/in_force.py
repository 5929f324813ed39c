"""The policy in force: its runtime, and who its services' endpoints are at present.

In:      accepted snapshots; answers of the resolver.
Out:     the Runtime that new requests begin with; the ledger, the resolver and the prober kept in step with it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic

from sidecar.exchange.runtime import Runtime, Shared
from sidecar.health.events import HealthEvent
from sidecar.policy.snapshot import Service, Snapshot
from sidecar.policy.syntax import is_ip
from sidecar.probe.http import HttpProbe
from sidecar.probe.prober import Prober
from sidecar.probe.queue_length import MOST, QueueReader
from sidecar.terms import TcpAddress
from sidecar.upstream.dns import Resolver

FIRST_ANSWERS = 1.0  # what the start waits for names to be resolved


class InForce:
    """Holds what runs. `emit` is told what the ledger says of a change."""

    def __init__(self, shared: Shared, emit: Callable[[Sequence[HealthEvent]], None]) -> None:
        self._shared = shared
        self._emit = emit
        probe = HttpProbe(self._tls_of, self._credential_of)
        self._prober = Prober(shared.ledger, probe, emit, shared.loop, shared.rng)
        self._queues = QueueReader(shared.ledger, partial(probe.get, most=MOST), shared.loop, shared.rng)
        self._resolver = Resolver(shared.loop, self._resolved, shared.rng)
        self._unanswered: dict[str, asyncio.Event] = {}

    def runtime(self) -> Runtime:
        """What a request begins with now."""
        return self._shared.in_force()

    def snapshot(self) -> Snapshot:
        return self.runtime().snapshot

    def active_requests(self) -> dict[str, int]:
        """Attempts in flight, by service."""
        ledger = self._shared.ledger
        return {name: sum(e.in_flight for e in ledger.endpoints(name)) for name in self.runtime().services}

    def retries_refused(self) -> dict[str, int]:
        """Retries that the budget of a route did not allow, by route."""
        return {name: route.budget.refused for name, route in self.runtime().routes.items()}

    def install(self, snapshot: Snapshot) -> None:
        """Puts an accepted policy into force; requests in flight keep the one they began with."""
        old, new = self._shared.runtime, Runtime(self._shared, snapshot)
        if old is not None:
            new.take_over(old)
        self._shared.runtime = new
        ledger = self._shared.ledger
        events = ledger.configure(snapshot.services, monotonic())
        names: dict[str, TcpAddress] = {}
        for service in snapshot.services.values():
            if not service.endpoints:
                events += self._point(service, names)
        for name, runtime in new.services.items():
            runtime.keep_only([e.key.address for e in ledger.endpoints(name)])
        if old is None:
            self._unanswered = {name: asyncio.Event() for name in names}
        self._resolver.watch(names)
        self._emit(events)
        self._prober.apply(snapshot)
        self._queues.apply(snapshot)

    async def first_answers(self) -> None:
        """Waits a moment for names to be resolved, so that requests find every endpoint from the start."""
        waiting = [self._shared.loop.create_task(event.wait()) for event in self._unanswered.values()]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=FIRST_ANSWERS)
            for task in late:
                task.cancel()

    async def stop(self) -> None:
        await self._resolver.stop()
        await self._prober.stop()
        await self._queues.stop()

    def close(self) -> None:
        """Ends the connections to services."""
        if self._shared.runtime is not None:
            for service in self._shared.runtime.services.values():
                service.close()

    def _point(self, service: Service, names: dict[str, TcpAddress]) -> Sequence[HealthEvent]:
        """The endpoints of a service that has none written: its url's address, or what its name resolves to."""
        where = TcpAddress(service.url.host, service.url.port)
        if not is_ip(where.host):
            names[service.name] = where
            if self._shared.ledger.endpoints(service.name):
                return ()  # the answers so far stay until there are new ones
        return self._shared.ledger.set_endpoints(service.name, [str(where)], monotonic())

    def _resolved(self, name: str, addresses: Sequence[TcpAddress]) -> None:
        found = [str(address) for address in addresses]
        events = self._shared.ledger.set_endpoints(name, found, monotonic())
        if (service := self.runtime().services.get(name)) is not None:
            service.keep_only(found)
        self._emit(events)
        self._prober.endpoints_changed()
        self._queues.endpoints_changed()
        if (event := self._unanswered.get(name)) is not None:
            event.set()

    def _tls_of(self, service: Service) -> ssl.SSLContext | None:
        runtime = self.runtime().services.get(service.name)
        if runtime is None or runtime.tls is None:
            return None
        return runtime.tls.context(monotonic())

    def _credential_of(self, service: Service) -> tuple[str, str] | None:
        runtime = self.runtime().services.get(service.name)
        return runtime.credential() if runtime is not None else None
