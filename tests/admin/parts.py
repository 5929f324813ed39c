"""What the tests of this room share: a clock and a timer moved by hand, policies, and the whole API on a loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import grpc
import uvloop
from llmsidecar.v1 import health_pb2 as pb
from llmsidecar.v1.health_pb2_grpc import HealthServiceStub
from llmsidecar.v1.policy_pb2 import Policy, Route, Service
from llmsidecar.v1.policy_pb2_grpc import PolicyServiceStub

from sidecar.admin.facts import Clock
from sidecar.admin.hub import EventHub
from sidecar.admin.policies import PolicyManager
from sidecar.admin.server import AdminServer
from sidecar.admin.store import PolicyStore
from sidecar.health.events import HealthEvent
from sidecar.health.ledger import Ledger
from sidecar.policy.snapshot import Snapshot
from sidecar.terms import Address, EndpointKey, UnixAddress

T = TypeVar("T")
A = EndpointKey("self-hosted", "127.0.0.1:8000")
B = EndpointKey("bailian", "127.0.0.1:8001")
WALL = 1_800_000_000_000_000_000  # some moment in 2027


def run(story: Coroutine[Any, Any, T]) -> T:
    """Runs a story on the daemon's kind of loop; one that hangs fails."""

    async def in_time() -> T:
        async with asyncio.timeout(20):
            return await story

    return uvloop.run(in_time())


@dataclass
class HandClock:
    """Time that moves only when told to."""

    mono: float = 1000.0
    wall: int = WALL

    def pass_by(self, seconds: float) -> None:
        self.mono += seconds
        self.wall += round(seconds * 1e9)

    def clock(self) -> Clock:
        return Clock(lambda: self.mono, lambda: self.wall)


@dataclass
class HandTimer:
    """Stands in for loop.call_later: what was armed, for how long, and whether it was cancelled."""

    armed: list[Alarm] = field(default_factory=list)

    def call_later(self, delay: float, callback: Callable[[], object]) -> Alarm:
        self.armed.append(Alarm(delay, callback))
        return self.armed[-1]


@dataclass
class Alarm:
    delay: float
    ring: Callable[[], object]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


def a_policy(model: str = "qwen", *, literal: str = "") -> Policy:
    """Two services with a fixed endpoint each, one route over both; `model` tells policies apart."""
    services = [
        Service(name=key.service, url=f"http://{key.address}/v1", endpoints=[key.address], model=model)
        for key in (A, B)
    ]
    if literal:
        services[0].credential.bearer.literal = literal
    return Policy(services=services, routes=[Route(services=[A.service, B.service])])


@dataclass
class Running:
    """The parts behind the API, as a daemon would join them."""

    ledger: Ledger
    hub: EventHub
    policies: PolicyManager
    installed: list[tuple[Snapshot, Policy]]
    clock: Clock


def build(
    state_dir: Path | None = None,
    *,
    clock: Clock | None = None,
    call_later: Callable[..., Any] | None = None,
    capacity: int = 4096,
) -> Running:
    clock = clock or Clock()
    ledger = Ledger(Random(7))
    hub = EventHub(ledger.statuses, clock, capacity)
    installed: list[tuple[Snapshot, Policy]] = []

    def install(snapshot: Snapshot, policy: Policy) -> None:
        installed.append((snapshot, policy))
        hub.publish_health(ledger.configure(snapshot.services, clock.mono()))
        for service in snapshot.services.values():
            addresses = [str(address) for address in service.endpoints]
            hub.publish_health(ledger.set_endpoints(service.name, addresses, clock.mono()))

    options = {} if call_later is None else {"call_later": call_later}
    store = None if state_dir is None else PolicyStore(state_dir)
    return Running(ledger, hub, PolicyManager(install, hub, store, clock=clock, **options), installed, clock)


@dataclass
class Served(Running):
    """The same, served; with a client of each service."""

    bound: list[str]
    told: list[Sequence[HealthEvent]]  # what overrides have changed
    server: AdminServer
    channel: grpc.aio.Channel
    policy_api: Any
    health_api: Any


@asynccontextmanager
async def served(
    folder: Path, *, addresses: Iterable[Address] = (), state_dir: Path | None = None, **options: Any
) -> AsyncIterator[Served]:
    """The API on a Unix socket in `folder`, or on `addresses`; the client calls the first of them."""
    parts = build(state_dir, **options)
    await parts.policies.start(a_policy())
    told: list[Sequence[HealthEvent]] = []

    def health_events(events: Sequence[HealthEvent]) -> None:
        told.append(events)
        parts.hub.publish_health(events)

    server = AdminServer(
        tuple(addresses) or (UnixAddress(str(folder / "admin.sock")),),
        policies=parts.policies,
        hub=parts.hub,
        ledger=parts.ledger,
        health_events=health_events,
        clock=parts.clock,
    )
    bound = await server.start()
    try:
        async with grpc.aio.insecure_channel(bound[0]) as channel:
            apis = (PolicyServiceStub(channel), HealthServiceStub(channel))  # type: ignore[no-untyped-call]
            yield Served(**vars(parts), bound=bound, told=told, server=server, channel=channel,
                         policy_api=apis[0], health_api=apis[1])  # fmt: skip
    finally:
        await server.stop(0)
        await parts.policies.close()


async def take(watch: AsyncGenerator[pb.HealthEvent, None], count: int) -> list[pb.HealthEvent]:
    """The next `count` messages."""
    return [await anext(watch) for _ in range(count)]
