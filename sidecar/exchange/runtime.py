"""A policy made ready for requests: routes with their candidates, services with their connections.

In:      a Snapshot, and what outlives policies (Shared).
Out:     Runtime, which a request keeps from its start to its end, whatever comes after.
Errors:  SecretMissing, TlsFileError; sidecar.upstream.needs finds them before a policy is accepted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, Final

from sidecar.attempt.budget import RetryBudget
from sidecar.choice import Skipped
from sidecar.exchange.clocks import Clocks, Waiter
from sidecar.exchange.gate import Terms
from sidecar.exchange.keys import Keys
from sidecar.exchange.line import Line
from sidecar.exchange.tokens import BYTES_PER_TOKEN
from sidecar.health.events import HealthEvent
from sidecar.health.ledger import EndpointHealth, Ledger
from sidecar.outbox import Turn
from sidecar.policy.snapshot import RetryBudget as BudgetPolicy
from sidecar.policy.snapshot import Route, Service, Snapshot
from sidecar.quota.quota import Quota, Who
from sidecar.record import Attempts, Sink
from sidecar.route.candidates import ServicePicker
from sidecar.route.match import Router
from sidecar.terms import parse_address
from sidecar.upstream.pool import EndpointPool
from sidecar.upstream.tls import TlsReader
from sidecar.wire import traceparent
from sidecar.wire.head_cache import ResponseHeads
from sidecar.wire.rewrite import request_fields

if TYPE_CHECKING:
    from sidecar.exchange.lane import Lane
    from sidecar.exchange.timers import DeadlineQueue
    from sidecar.wire.dialect import Shape
    from sidecar.wire.heads import RequestHead

MAX_TERMS: Final = 256
LEAST_HEDGES: Final = 1  # or a quiet pod would never hedge
PROMPT_STEP: Final = 1024
# 8000 tokens: to compute such a prompt may alone take longer than a first-packet timeout that is meant for chat.
LONG_PROMPT: Final = 8000 * BYTES_PER_TOKEN
APP_CREDENTIALS: Final = frozenset({b"authorization", b"x-api-key", b"api-key"})


def _no_header(name: bytes) -> bytes | None:
    return None


def _no_uid() -> str:
    return ""


def by_model(model: str | None) -> Who:
    """A service's limits tell nobody apart but models."""
    return Who(model, _no_header, _no_uid)


class Shared:
    """What requests use whatever the policy is. Callables are set once, by the composition root.

    sampling_bound  below which ids of traces to keep are
    app_samples     an app's `traceparent` decides about its own trace
    exchanges       in flight
    runtime         the policy in force, see in_force; None before the first is installed
    """

    __slots__ = (
        "app_samples",
        "attempts",
        "clocks",
        "exchanges",
        "health_events",
        "ids",
        "ledger",
        "loop",
        "response_heads",
        "rng",
        "runtime",
        "sampling_bound",
        "sink",
        "turn",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ledger: Ledger,
        rng: Random,
        clocks: Clocks,
        sink: Sink,
        attempts: Attempts,
        health_events: Callable[[Sequence[HealthEvent]], None],
        sample_ratio: float = 0.0,
        app_samples: bool = True,
    ) -> None:
        self.loop = loop
        self.runtime: Runtime | None = None
        self.turn = Turn(loop)
        self.ledger = ledger
        self.rng = rng
        self.ids = traceparent.Ids(rng)
        self.clocks = clocks
        self.sink = sink
        self.attempts = attempts
        self.health_events = health_events
        self.sampling_bound = traceparent.sampling_bound(sample_ratio)
        self.app_samples = app_samples
        self.response_heads = ResponseHeads()
        self.exchanges: set[object] = set()

    def in_force(self) -> Runtime:
        """What a request begins with now."""
        assert self.runtime is not None, "no policy yet"
        return self.runtime


class ServiceRuntime:
    """One service: how to ask it, and the connections to its endpoints."""

    __slots__ = (
        "_clocks",
        "_known",
        "_ledger",
        "_loop",
        "_plain_wait",
        "_pools",
        "_remove",
        "_server_name",
        "_set_fields",
        "_soft",
        "_turn",
        "authority",
        "identity",
        "keys",
        "line",
        "name",
        "own_credential",
        "picker",
        "quota",
        "service",
        "tls",
        "total",
        "whole_answer",
    )

    def __init__(self, shared: Shared, service: Service, rng: Random) -> None:
        self.service = service
        self.name = service.name
        self._loop = shared.loop
        self._turn = shared.turn
        clocks, timeouts = shared.clocks, service.timeouts
        self._clocks = clocks
        self._soft = timeouts.first_packet_soft
        self._plain_wait: DeadlineQueue[Waiter] | None = None  # the same for every prompt
        if not timeouts.first_packet_per_1k_tokens:
            self._plain_wait = clocks.first_packet.of(timeouts.first_packet)
        self.whole_answer: DeadlineQueue[Waiter] = clocks.response.of(timeouts.response)
        self.total: DeadlineQueue[Waiter] = clocks.total.of(timeouts.total)
        self.authority = service.url.authority.encode()
        self.keys = Keys(service, shared.ledger, shared.health_events)
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
        self.picker = ServicePicker(service, self._endpoints, rng, self.closed)
        self.quota = Quota(service.rate_limit) if service.rate_limit else None
        self.line = Line(shared.loop, self.picker)

    def first_packet(self, body_bytes: int) -> DeadlineQueue[Waiter]:
        """How long the first packet of a stream may take, more for a long prompt."""
        if self._plain_wait is not None:
            return self._plain_wait
        return self._clocks.first_packet.of(self.service.timeouts.first_packet + self._extra(body_bytes))

    def soft(self, body_bytes: int) -> DeadlineQueue[Waiter] | None:
        """Where the policy has a softer limit: how long without being late for health."""
        return None if self._soft is None else self._clocks.soft.of(self._soft + self._extra(body_bytes))

    def excuses(self, body_bytes: int) -> bool:
        """Whether a late answer to so long a prompt is no sign of illness: nothing has been allowed for it."""
        return body_bytes >= LONG_PROMPT and not self.service.timeouts.first_packet_per_1k_tokens

    def _extra(self, body_bytes: int) -> float:
        steps = body_bytes // PROMPT_STEP  # whole ones, so that few lengths are in use
        per_1k = self.service.timeouts.first_packet_per_1k_tokens
        return per_1k * steps * PROMPT_STEP / BYTES_PER_TOKEN / 1000

    def credential(self) -> tuple[str, str] | None:
        """The header field that the service wants, by name and value, for a probe."""
        key = self.keys.present(monotonic())
        return None if key is None else key.field()

    def sees_key_of(self, head: RequestHead) -> bool:
        """Whether it is sent a key of the app's own, so that what it says of keys is about this app alone."""
        return not self.own_credential and any(head.get(name) for name in APP_CREDENTIALS)

    def closed(self, model: str | None, now: float) -> Skipped | None:
        """Whether the service has asked for nothing to be sent: not at all, for this model, or with any of its keys."""
        if self.quota is not None and (wait := self.quota.wait(by_model(model), now)) > 0.0:
            return Skipped("rate_limited", now + wait)
        name = self.name
        scopes = self._ledger.scopes(name)
        if not scopes:
            return None
        sent = self.service.model_for(model) or model
        cooling = scopes.closed(name, sent, now)
        if cooling is not None and scopes.all_keys(now) is not None and self.keys.renew(now):
            cooling = scopes.closed(name, sent, now)
        return None if cooling is None else cooling.skipped()

    def pool(self, address: str) -> EndpointPool:
        """The connections to one of its endpoints."""
        pool = self._pools.get(address)
        if pool is None:
            where = parse_address(address)
            pool = self._pools[address] = EndpointPool(
                self._loop, self._turn, where, self.tls, self._server_name
            )
        return pool

    def retire(self) -> None:
        """Another policy has taken over: its requests in flight go on with the addresses it knew, for those that the
        service has now may be another vendor's, who must not see this one's credential."""
        self._known = frozenset(e.key.address for e in self._ledger.endpoints(self.name))

    def _endpoints(self) -> Sequence[EndpointHealth]:
        listed = self._ledger.endpoints(self.name)
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
        self.keys.take_over(old.keys)
        if old.quota is not None and self.quota is not None:
            self.quota.take_over(old.quota)

    def keep_only(self, addresses: Sequence[str]) -> None:
        """Closes idle connections to endpoints that are gone."""
        for address in self._pools.keys() - set(addresses):
            self._pools.pop(address).close()

    def close(self) -> None:
        self.keep_only(())

    def fields(self, head: RequestHead, credential: tuple[str, str] | None) -> bytes:
        """Header lines of an attempt: the app's end-to-end fields, the service's own, no credential of the app."""
        set_fields = self._set_fields
        if credential is not None:
            set_fields = (*set_fields, (credential[0].encode(), credential[1].encode()))
        return request_fields(head, remove=self._remove, set_fields=set_fields)


class RouteRuntime:
    """One route with its services in order."""

    __slots__ = (
        "_heads",
        "_terms",
        "budget",
        "hashes",
        "hedge",
        "hedge_budget",
        "name",
        "pickers",
        "quota",
        "route",
        "services",
    )

    def __init__(self, shared: Shared, route: Route, services: Sequence[ServiceRuntime]) -> None:
        self.route = route
        self.name = route.name
        self._heads = shared.response_heads
        self._terms: dict[tuple[object, ...], Terms] = {}
        self.services = tuple(services)
        self.pickers = tuple(service.picker for service in services)
        self.hashes = any(one.service.load_balancing == "consistent_hash" for one in services)
        self.budget = RetryBudget(route.retry_budget)
        self.quota = Quota(route.rate_limit) if route.rate_limit else None
        self.hedge: DeadlineQueue[Waiter] | None = None
        self.hedge_budget: RetryBudget | None = None
        if route.hedge is not None:
            self.hedge = shared.clocks.hedge.of(route.hedge.after)
            self.hedge_budget = RetryBudget(BudgetPolicy(route.hedge.budget, LEAST_HEDGES))

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

    __slots__ = ("generation", "lanes", "last_head", "last_lane", "router", "routes", "services", "snapshot")

    def __init__(self, shared: Shared, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.lanes: dict[tuple[object, ...], Lane] = {}
        self.last_head = -1  # its number
        self.last_lane: Lane | None = None  # of that head
        self.generation = snapshot.generation
        self.router = Router(snapshot)
        self.services = {
            name: ServiceRuntime(shared, service, shared.rng) for name, service in snapshot.services.items()
        }
        self.routes = {
            route.name: RouteRuntime(shared, route, [self.services[name] for name in route.services])
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
        for name, route in old.routes.items():
            known = self.routes.get(name)
            if known is not None and known.quota is not None and route.quota is not None:
                known.quota.take_over(route.quota)
