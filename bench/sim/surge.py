"""The surge: calm, four times what the primary can bear, calm again; and the figures of how it went.

Units:   seconds, shares 0.0..1.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from bench.sim.sidecars import Outcome, Sidecar
from bench.sim.world import Server, World
from sidecar.demo.gpu import GpuSpec
from sidecar.policy.build import DEFAULT_FALLBACK_ON
from sidecar.policy.snapshot import (
    AdaptiveConcurrency,
    PassiveHealth,
    Route,
    Service,
    Snapshot,
    Timeouts,
    Url,
)
from sidecar.terms import TcpAddress

FIRST_PACKET = 0.2
CALM, SURGE, AFTER = 10.0, 40.0, 60.0
CALM_LOAD, SURGE_LOAD = 0.5, 4.0  # of the primary's capacity
SERVED_AGAIN, LOOK = 0.9, 5.0
DEFAULT = PassiveHealth()


@dataclass(frozen=True, slots=True)
class Case:
    """What is varied."""

    sidecars: int = 1
    cancels: bool = True
    known: bool = False  # the policy says whether the server cancels
    adaptive: bool = True
    killed: bool = False  # 20 s into the surge
    reads_queue: bool = False  # each sidecar asks the server for the length of its queue
    passive: PassiveHealth = DEFAULT
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Figures:
    requests: int
    success: float
    crashes: int
    first_packet_p99: float
    late: float  # of the surge's requests
    used: float  # of the primary's capacity during the surge, by tokens that reached the app
    busy: float  # of its slots during the surge, for whomever
    back_after: float | None  # seconds until the primary serves SERVED_AGAIN of LOOK seconds' requests
    first_ejection: float | None  # seconds into the surge


def policy(case: Case) -> Snapshot:
    primary = Service(
        "primary",
        Url("http", "primary", 80, "/v1", "primary"),
        endpoints=(TcpAddress("primary", 80),),
        timeouts=Timeouts(connect=1.0, first_packet=FIRST_PACKET),
        passive_health=case.passive,
        adaptive_concurrency=AdaptiveConcurrency(cancels=case.known and case.cancels)
        if case.adaptive
        else None,
    )
    vendor = Service(
        "vendor", Url("http", "vendor", 80, "/v1", "vendor"), endpoints=(TcpAddress("vendor", 80),)
    )
    route = Route("/v1#0", ("primary", "vendor"), fallback_on=DEFAULT_FALLBACK_ON)
    return Snapshot(1, {"primary": primary, "vendor": vendor}, (route,))


def run(case: Case) -> Figures:
    rng = Random(case.seed)
    world, spec = World(), GpuSpec(cancels=case.cancels)
    server = Server(world, spec)
    sidecars = [Sidecar(world, server, policy(case), Random(rng.random())) for _ in range(case.sidecars)]
    outcomes: list[Outcome] = []

    def ask() -> None:
        tokens = rng.randint(spec.usual_tokens // 2, spec.usual_tokens * 3 // 2)
        outcomes.append(rng.choice(sidecars).ask(tokens))

    busy = 0.0

    def meter(sign: float) -> None:
        nonlocal busy
        _ = server.phase
        busy += sign * server.gpu.slot_seconds

    at = 0.0
    for length, load in ((CALM, CALM_LOAD), (SURGE, SURGE_LOAD), (_after(case), CALM_LOAD)):
        ends = at + length
        while (at := at + rng.expovariate(load * spec.capacity)) < ends:
            world.at(at, ask)
        at = ends
    world.at(CALM, lambda: meter(-1.0))
    world.at(CALM + SURGE, lambda: meter(1.0))
    if case.killed:
        world.at(CALM + SURGE / 2, server.kill)
    if case.reads_queue:
        for sidecar in sidecars:
            sidecar.read_queue(until=at)
    world.run()
    return figures(case, spec, server, sidecars, outcomes, busy)


def _after(case: Case) -> float:
    """A killed primary has to come back before there is anything to see."""
    return 2 * AFTER if case.killed else AFTER


def figures(
    case: Case, spec: GpuSpec, server: Server, sidecars: list[Sidecar], outcomes: list[Outcome], busy: float
) -> Figures:
    def surging(moment: float) -> bool:
        return CALM <= moment < CALM + SURGE

    surge = [o for o in outcomes if surging(o.began)]
    first = sorted(o.first_packet for o in surge if o.first_packet is not None)
    tokens = sum(surging(at) for o in outcomes for at in o.tokens or ())
    ejected = [at for sidecar in sidecars for at in sidecar.ejections if at >= CALM]
    back_from = server.returns[-1] if case.killed and server.returns else CALM + SURGE
    return Figures(
        requests=len(outcomes),
        success=sum(o.ended is not None for o in outcomes) / len(outcomes),
        crashes=server.gpu.deaths - case.killed,
        first_packet_p99=first[int(0.99 * len(first))],
        late=sum(o.late for o in surge) / len(surge),
        used=tokens / (spec.capacity * spec.usual_tokens * SURGE),
        back_after=back_after(outcomes, back_from),
        busy=busy / (SURGE * spec.slots),
        first_ejection=min(ejected) - CALM if ejected else None,
    )


def back_after(outcomes: list[Outcome], moment: float) -> float | None:
    """Seconds from a moment until the primary serves again."""
    after = [o for o in outcomes if moment <= o.began]
    for first in after:
        seen = [o.served_by == 0 for o in after if first.began <= o.began < first.began + LOOK]
        if sum(seen) >= SERVED_AGAIN * len(seen) and first.served_by == 0:
            return first.began - moment
    return None
