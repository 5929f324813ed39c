"""A policy made ready for requests: routes with their candidates, services with their connections.

In:      a Snapshot, and what outlives policies (Shared).
Out:     Runtime, which a request keeps from its start to its end, whatever comes after.
Errors:  SecretMissing, TlsFileError; sidecar.upstream.needs finds them before a policy is accepted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import TYPE_CHECKING

from sidecar.attempt.budget import RetryBudget
from sidecar.exchange.gate import Terms
from sidecar.health.events import HealthEvent
from sidecar.health.ledger import EndpointHealth, Ledger
from sidecar.policy.snapshot import Route, Service, Snapshot
from sidecar.record import AttemptRecord, RequestRecord
from sidecar.route.candidates import Candidates, ServicePicker
from sidecar.route.match import Router
from sidecar.terms import parse_address
from sidecar.upstream.pool import EndpointPool
from sidecar.upstream.secrets import SecretReader
from sidecar.upstream.tls import TlsReader
from sidecar.wire.head_cache import ResponseHeads
from sidecar.wire.rewrite import request_fields, upstream_request

if TYPE_CHECKING:
    from sidecar.exchange.clocks import Clocks, Waiter
    from sidecar.exchange.timers import DeadlineQueue
    from sidecar.wire.dialect import Shape
    from sidecar.wire.heads import RequestHead

MAX_TERMS = 256
APP_CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"api-key"})


@dataclass(slots=True)
class Shared:
    """What requests use whatever the policy is. Callables are set once, by the composition root."""

    loop: asyncio.AbstractEventLoop
    ledger: Ledger
    rng: Random
    clocks: Clocks
    request_finished: Callable[[RequestRecord], None]
    attempt_finished: Callable[[RequestRecord, AttemptRecord], None]
    health_events: Callable[[Sequence[HealthEvent]], None]
    sample_ratio: float = 0.0
    app_samples: bool = True  # an app's `traceparent` decides about its own trace
    response_heads: ResponseHeads = field(default_factory=ResponseHeads)
    exchanges: set[object] = field(default_factory=set)  # in flight


class ServiceRuntime:
    """One service: how to ask it, and the connections to its endpoints."""

    __slots__ = (
        "_authority",
        "_known",
        "_ledger",
        "_loop",
        "_pools",
        "_remove",
        "_secrets",
        "_server_name",
        "_set_fields",
        "first_packet",
        "identity",
        "idle",
        "own_credential",
        "picker",
        "response",
        "service",
        "tls",
        "total",
    )

    def __init__(self, shared: Shared, service: Service, rng: Random) -> None:
        self.service = service
        self._loop = shared.loop
        clocks, timeouts = shared.clocks, service.timeouts
        self.first_packet: DeadlineQueue[Waiter] = clocks.first_packet.of(timeouts.first_packet)
        self.response: DeadlineQueue[Waiter] = clocks.response.of(timeouts.response)
        self.idle: DeadlineQueue[Waiter] = clocks.idle.of(timeouts.idle)
        self.total: DeadlineQueue[Waiter] = clocks.total.of(timeouts.total)
        self._authority = service.url.authority.encode()
        self._secrets = tuple(SecretReader(credential.secret) for credential in service.credentials)
        self.own_credential = bool(service.credentials)
        removed = {name.encode() for name in service.remove_headers}
        self._remove = frozenset(removed | APP_CREDENTIALS if self.own_credential else removed)
        self._set_fields = tuple((n.encode(), v.encode()) for n, v in service.set_headers)
        self.tls: TlsReader | None = None
        self._server_name: str | None = None
        if service.url.scheme == "https":
            self.tls = TlsReader(service.tls, monotonic())
            self._server_name = service.tls.server_name or service.url.host
        self.identity = (service.url.scheme, service.tls, self._server_name)
        self._pools: dict[str, EndpointPool] = {}
        self._ledger = shared.ledger
        self._known: frozenset[str] | None = (
            None  # the only addresses it may still use; None: whatever is listed
        )
        self.picker = ServicePicker(service, self._endpoints, rng)

    def credential(self) -> tuple[str, str] | None:
        """The header field that the service wants, by name and value."""
        if not self._secrets:
            return None
        credential = self.service.credentials[0]
        return credential.header, credential.prefix + self._secrets[0].value()

    def pool(self, address: str) -> EndpointPool:
        """The connections to one of its endpoints."""
        pool = self._pools.get(address)
        if pool is None:
            where = parse_address(address)
            pool = self._pools[address] = EndpointPool(self._loop, where, self.tls, self._server_name)
        return pool

    def retire(self) -> None:
        """Another policy has taken over: its requests in flight go on with the addresses it knew, for those that the
        service has now may be another vendor's, who must not see this one's credential."""
        self._known = frozenset(e.key.address for e in self._ledger.endpoints(self.service.name))

    def _endpoints(self) -> Sequence[EndpointHealth]:
        listed = self._ledger.endpoints(self.service.name)
        if self._known is None:
            return listed
        return [e for e in listed if e.key.address in self._known]

    def take_over(self, old: ServiceRuntime) -> None:
        """Goes on with the connections of the policy before, where scheme and TLS are the same."""
        if old.identity == self.identity:
            self._pools = old._pools
            self.tls = old.tls
        else:
            old.close()

    def keep_only(self, addresses: Sequence[str]) -> None:
        """Closes idle connections to endpoints that are gone."""
        for address in self._pools.keys() - set(addresses):
            self._pools.pop(address).close()

    def close(self) -> None:
        self.keep_only(())

    def request_bytes(self, head: RequestHead, target: str, body: bytes, trace: bytes) -> bytes:
        """The head of an attempt: the app's end-to-end fields, the service's own, no credential of the app."""
        credential = self.credential()
        known = head.memo.get(self)
        if known is not None and known[0] == credential:
            fields = known[1]
        else:
            fields = self._fields(head, credential)
            head.memo[self] = (credential, fields)
        length = len(body) if body or head.content_length is not None or head.chunked else None
        return upstream_request(head.method, target.encode(), self._authority, fields, length, trace)

    def _fields(self, head: RequestHead, credential: tuple[str, str] | None) -> bytes:
        set_fields = self._set_fields
        if credential is not None:
            set_fields = (*set_fields, (credential[0].encode(), credential[1].encode()))
        return request_fields(head, remove=self._remove, set_fields=set_fields)


class RouteRuntime:
    """One route with its services in order."""

    __slots__ = ("_heads", "_terms", "budget", "candidates", "route", "services")

    def __init__(self, route: Route, services: Sequence[ServiceRuntime], heads: ResponseHeads) -> None:
        self.route = route
        self._heads = heads
        self._terms: dict[tuple[object, ...], Terms] = {}
        self.services = tuple(services)
        self.candidates = Candidates(route, [s.picker for s in services])
        self.budget = RetryBudget(route.retry_budget)

    def terms(self, service: ServiceRuntime, method: str, shape: Shape, *, stream: bool) -> Terms:
        """What the gate of an attempt has to know; one object for all attempts that are alike."""
        key = (service, method, shape, stream)
        terms = self._terms.get(key)
        if terms is None:
            if len(self._terms) >= MAX_TERMS:  # an app may invent methods
                self._terms.clear()
            terms = self._terms[key] = Terms(
                method=method,
                shape=shape,
                stream=stream,
                first_packet_is=service.service.first_packet_is,
                complete=self.route.commit == "complete",
                own_credential=service.own_credential,
                fallback_on=self.route.fallback_on,
                heads=self._heads,
                limits=service.service.limits,
            )
        return terms


class Runtime:
    """One generation of the policy, ready to use."""

    __slots__ = ("generation", "router", "routes", "services", "snapshot")

    def __init__(self, shared: Shared, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.generation = snapshot.generation
        self.router = Router(snapshot)
        self.services = {
            name: ServiceRuntime(shared, service, shared.rng) for name, service in snapshot.services.items()
        }
        self.routes = {
            route.name: RouteRuntime(
                route, [self.services[name] for name in route.services], shared.response_heads
            )
            for route in snapshot.routes
        }

    def take_over(self, old: Runtime) -> None:
        """Keeps the connections of what stays."""
        for name, service in old.services.items():
            service.retire()
            if (new := self.services.get(name)) is not None:
                new.take_over(service)
            else:
                service.close()
