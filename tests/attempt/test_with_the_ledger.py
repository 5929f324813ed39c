"""Plans, picking and the ledger together, as the exchange joins them: many requests, random faults, invented time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random

import pytest

from sidecar.attempt.budget import RetryBudget
from sidecar.attempt.plan import Answer, Drop, Plan, Queue, Try, Wait
from sidecar.failure import Failure, FailureKind, verdict
from sidecar.frozen import replace
from sidecar.health.endpoint import State
from sidecar.health.ledger import EndpointHealth, Ledger
from sidecar.policy.snapshot import ActiveHealth, AdaptiveConcurrency, PassiveHealth, Route, Service
from sidecar.policy.snapshot import RetryBudget as BudgetPolicy
from sidecar.route.candidates import Candidates, ServicePicker
from tests.attempt.script import DEFAULT_FALLBACK_ON
from tests.health.script import service_of

Command = Try[EndpointHealth] | Wait | Queue | Drop | Answer | None
OUT = frozenset({State.EJECTED, State.COOLING, State.PROBE_FAILED, State.REMOVED})
FAILURES = (
    Failure(FailureKind.CONNECT_FAILURE),
    Failure(FailureKind.RESET),
    Failure(FailureKind.STATUS, 500),
    Failure(FailureKind.STATUS, 503, 2.0),
    Failure(FailureKind.STATUS, 429, 1.0),
    Failure(FailureKind.IN_STREAM_ERROR),
)


@dataclass(eq=False)
class Running:
    """An attempt in flight."""

    endpoint: EndpointHealth
    era: int
    began: float
    late: bool = False


class Request:
    """Does what the exchange does."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.attempts: dict[int, Running] = {}  # two while it is hedged
        self.committed = self.over = False
        self.wakes: float | None = None
        self.plan = Plan(
            world.route,
            Candidates(world.pickers),
            world.retries,
            world.rng,
            world.now,
            hedge_budget=world.hedges,
        )
        self.carry_out(self.plan.begin(world.now))

    def carry_out(self, command: Command) -> None:
        match command:
            case Try(number=number, endpoint=endpoint):
                self.world.check(endpoint)
                self.attempts[number] = Running(
                    endpoint, self.world.ledger.started(endpoint, self.world.now), self.world.now
                )
            case Wait(until):
                self.wakes = until
            case Answer():
                assert not self.attempts
                self.end()
            case Queue():
                raise AssertionError("there are no lines here")
            case Drop() | None:
                pass

    def end(self) -> None:
        self.over = True
        self.plan.ended()

    def finish(self, number: int, failure: Failure | None, *, dropped: bool = False) -> None:
        attempt, world = self.attempts.pop(number), self.world
        limited = attempt.endpoint.limit is not None
        said = verdict(failure, late=attempt.late, dropped=dropped, lateness_counts=not limited)
        asked = None if failure is None else failure.retry_after
        cut = failure is not None and failure.kind is FailureKind.FIRST_PACKET_TIMEOUT
        world.ledger.finished(
            attempt.endpoint, said, world.now, asked, attempt.era, began=attempt.began, cut=cut
        )

    def happens(self, rng: Random) -> None:
        """One turning point of one of its attempts, if it is its time."""
        now = self.world.now
        if self.wakes is not None:
            if self.wakes <= now:
                self.wakes = None
                self.carry_out(self.plan.woke(now))
            return
        number = rng.choice(list(self.attempts))
        attempt = self.attempts[number]
        if self.committed:
            self.finish(number, rng.choice((None, None, Failure(FailureKind.TRUNCATED_STREAM))))
            self.end()
            return
        match rng.choice(("slow", "late", "fail", "open", "open", "open")):
            case "slow" if len(self.attempts) == 1:
                self.carry_out(self.plan.slow(now))
            case "late" if not attempt.late:
                attempt.late = True
                self.world.ledger.late(attempt.endpoint, attempt.began, now)
                command = self.plan.late(now, number)
                if command is not None:
                    self.finish(number, Failure(FailureKind.FIRST_PACKET_TIMEOUT))
                    self.carry_out(command)
            case "fail":
                failure = rng.choice(FAILURES)
                self.finish(number, failure)
                self.carry_out(self.plan.failed(failure, now, number))
            case "open":
                if not attempt.late:
                    self.world.ledger.on_time(attempt.endpoint, attempt.began, now)
                for other in [one for one in self.attempts if one != number]:
                    self.finish(other, None, dropped=True)
                self.plan.committed()
                self.committed = True


class World:
    """Three services of a route, one ledger, many requests."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
        self.now = 0.0
        self.ledger = Ledger(rng)
        sizes = [rng.choice(("a", "ab", "abcde")), rng.choice(("v", "vw")), rng.choice(("", "x"))]
        self.services = [self.service(f"s{rank}", names) for rank, names in enumerate(sizes) if names]
        self.ledger.configure({one.name: one for one in self.services}, 0.0)
        self.pickers = [
            ServicePicker(one, partial(self.ledger.endpoints, one.name), rng) for one in self.services
        ]
        self.route = Route(
            "/v1#0",
            tuple(one.name for one in self.services),
            fallback_on=DEFAULT_FALLBACK_ON,
            wait_for_retry_after=rng.choice((0.0, 1.5)),
            cut_last=rng.random() < 0.3,
        )
        self.retries = RetryBudget(BudgetPolicy())
        self.hedges = RetryBudget(BudgetPolicy(10.0, 1))
        self.tries = self.last_resorts = 0

    def service(self, name: str, names: str) -> Service:
        rng = self.rng
        passive = PassiveHealth(
            consecutive_failures=rng.choice((1, 3)),
            base_ejection_time=rng.choice((1.0, 10.0)),
            max_ejection_percent=rng.choice((50.0, 100.0)),
            probation_requests=rng.choice((0, 1, 2)),
            ramp=rng.choice((0.0, 5.0)),
        )
        limit = AdaptiveConcurrency() if rng.random() < 0.5 else None
        active = ActiveHealth(unhealthy_threshold=1, healthy_threshold=1)
        return replace(service_of(names, passive, active, name=name), adaptive_concurrency=limit)

    def endpoints(self) -> list[EndpointHealth]:
        return [endpoint for one in self.services for endpoint in self.ledger.endpoints(one.name)]

    def check(self, chosen: EndpointHealth) -> None:
        self.tries += 1
        if chosen.state in OUT:
            self.last_resorts += 1
            assert chosen.state is not State.COOLING, "it has asked to be left alone"
            assert not [one.key for one in self.endpoints() if one.available(self.now)]

    def happens(self) -> None:
        """Something beside the requests."""
        if self.rng.random() < 0.03:
            endpoint = self.rng.choice(self.endpoints())
            self.ledger.probed(endpoint.key, self.rng.random() < 0.7, "…", self.now)
        if self.rng.random() < 0.002:
            self.ledger.eject(self.rng.choice(self.endpoints()).key, 5.0, self.now)


@pytest.mark.parametrize("seed", range(40))
def test_nothing_goes_to_an_ejected_endpoint_while_another_is_available(seed: int) -> None:
    """Over all services of the route, for first tries, retries, fallbacks and hedges. Whoever asked to be left alone is
    not even a last resort. And in the end nobody owes anything: no attempt, no retry, no hedge."""
    world = World(seed)
    requests: list[Request] = []
    for _ in range(3000):
        world.now += world.rng.expovariate(20.0)
        world.ledger.advance(world.now)
        world.happens()
        if len(requests) < 20 and world.rng.random() < 0.3:
            requests.append(Request(world))
        elif requests:
            world.rng.choice(requests).happens(world.rng)
        requests = [one for one in requests if not one.over]
    while requests:
        world.now += 1.0
        world.ledger.advance(world.now)
        for one in requests:
            one.happens(world.rng)
        requests = [one for one in requests if not one.over]
    assert world.tries > 500
    assert {one.in_flight for one in world.endpoints()} == {0}
    assert (world.retries.active, world.retries.retries) == (0, 0)
    assert (world.hedges.active, world.hedges.retries) == (0, 0)
