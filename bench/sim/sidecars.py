"""A sidecar of the simulation: the real ledger, candidates, plan and limit; only the sockets are invented.

In:      requests of its app.
Out:     one Outcome each.
Left out: what the gate does. It lets no head and no role pass for a first packet (tests/wire and bench/surge
         show that), so that here the three ways in which a server may open a stream are one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from bench.sim.world import Server, World
from sidecar.attempt.budget import RetryBudget
from sidecar.attempt.plan import Answer, Drop, Plan, Queue, Try, Wait
from sidecar.demo.gpu import Phase, Token
from sidecar.failure import Failure, FailureKind, Verdict, verdict
from sidecar.health.events import Ejected, HealthEvent
from sidecar.health.ledger import EndpointHealth, Ledger
from sidecar.policy.snapshot import Snapshot
from sidecar.route.candidates import Candidates, ServicePicker

NETWORK = 0.0005  # one way
FALLBACK_FIRST_PACKET = 0.08
FALLBACK_LENGTH = 1.0
QUEUE_INTERVAL = 0.5


@dataclass(slots=True)
class Outcome:
    """What became of a request."""

    began: float
    served_by: int | None = None  # rank of the service
    first_packet: float | None = None  # seconds
    ended: float | None = None  # None: it failed
    late: bool = False  # the primary was tried, in vain
    tokens: list[float] | None = None  # moments at which the primary's reached the app


class Sidecar:
    """One pod's sidecar."""

    def __init__(self, world: World, server: Server, policy: Snapshot, rng: Random) -> None:
        self.world = world
        self.server = server
        self.rng = rng
        self.ledger = Ledger(rng)
        self.ejections: list[float] = []
        self.route = policy.routes[0]
        self.services = [policy.services[name] for name in self.route.services]
        self.hear(self.ledger.configure(policy.services, world.now))
        pickers = [
            ServicePicker(service, partial(self.ledger.endpoints, service.name), rng)
            for service in self.services
        ]
        self.candidates = Candidates(pickers)
        self.budget = RetryBudget(self.route.retry_budget)

    def ask(self, tokens: int) -> Outcome:
        outcome = Outcome(self.world.now)
        Request(self, outcome, tokens).begin()
        return outcome

    def read_queue(self, until: float) -> None:
        """Now and again and again: how many requests wait at the primary."""
        now = self.world.now
        if self.server.phase is Phase.SERVING:
            for endpoint in self.ledger.endpoints("primary"):
                assert endpoint.limit is not None
                endpoint.limit.waiting(self.server.gpu.queued, now)
        if now < until:
            pause = QUEUE_INTERVAL * (0.75 + 0.5 * self.rng.random())
            self.world.at(now + pause, lambda: self.read_queue(until))

    def time_passes(self) -> None:
        self.hear(self.ledger.advance(self.world.now))

    def hear(self, events: Sequence[HealthEvent]) -> None:
        self.ejections += [self.world.now for event in events if isinstance(event, Ejected)]


class Request:
    """Does what exchange and attempt do: carries the plan out."""

    def __init__(self, sidecar: Sidecar, outcome: Outcome, tokens: int) -> None:
        self.sidecar = sidecar
        self.world = sidecar.world
        self.outcome = outcome
        self.tokens = tokens
        self.plan: Plan[EndpointHealth] = Plan(
            sidecar.route, sidecar.candidates, sidecar.budget, sidecar.rng, sidecar.world.now
        )
        self.endpoint: EndpointHealth | None = None  # of the attempt that runs
        self.rank = self.era = self.attempt = 0
        self.began = 0.0
        self.job: int | None = None
        self.is_late = self.is_open = False

    def begin(self) -> None:
        self.sidecar.time_passes()
        self.carry_out(self.plan.begin(self.world.now))

    def carry_out(self, command: Try[EndpointHealth] | Wait | Queue | Drop | Answer | None) -> None:
        match command:
            case Try():
                self.send(command)
            case Wait(until=until):
                self.world.at(until, self.wake)
            case Answer():
                self.plan.ended()
            case Queue() | Drop() | None:
                raise AssertionError(f"{command} in a route that neither queues nor hedges")

    def wake(self) -> None:
        self.sidecar.time_passes()
        self.carry_out(self.plan.woke(self.world.now))

    def send(self, command: Try[EndpointHealth]) -> None:
        now = self.world.now
        self.endpoint, self.rank, self.attempt = command.endpoint, command.rank, command.number
        self.began = now
        self.is_late = self.is_open = False
        self.era = self.sidecar.ledger.started(command.endpoint, now)
        if self.rank > 0:
            self.world.at(now + FALLBACK_FIRST_PACKET, self.open)
            self.world.at(now + FALLBACK_LENGTH, self.whole)
            return
        number = command.number
        self.world.at(now + NETWORK, lambda: self.arrive(number))
        timeout = self.sidecar.services[0].timeouts.first_packet
        self.world.at(now + timeout, lambda: self.due(number))

    def arrive(self, number: int) -> None:
        """At the server."""
        if number != self.attempt or self.endpoint is None:
            return
        match self.sidecar.server.phase:
            case Phase.SERVING:
                self.job = self.sidecar.server.submit(self, self.tokens)
            case Phase.DOWN:
                self.fail(Failure(FailureKind.CONNECT_FAILURE))
            case Phase.LOADING:
                self.fail(Failure(FailureKind.STATUS, status=503))

    def due(self, number: int) -> None:
        """The first packet of that attempt is, by now."""
        if number != self.attempt or self.endpoint is None or self.is_open:
            return
        now = self.world.now
        self.is_late = self.outcome.late = True
        self.sidecar.time_passes()
        self.sidecar.ledger.late(self.endpoint, self.began, now)
        command = self.plan.late(now)
        if command is None:
            return
        if self.job is not None:
            self.sidecar.server.hang_up(self.job)
        self.end(Failure(FailureKind.FIRST_PACKET_TIMEOUT))
        self.carry_out(command)

    def token(self, token: Token) -> None:
        if token.number == 1:
            self.outcome.tokens = []
            self.open()
        assert self.outcome.tokens is not None
        self.outcome.tokens.append(self.world.now)
        if token.last:
            self.whole()

    def lost(self) -> None:
        """The server has died."""
        if self.is_open:
            self.end(Failure(FailureKind.TRUNCATED_STREAM))
            self.plan.ended()
        else:
            self.fail(Failure(FailureKind.RESET))

    def open(self) -> None:
        assert self.endpoint is not None
        self.is_open = True
        self.outcome.first_packet = self.world.now - self.outcome.began
        self.outcome.served_by = self.rank
        if not self.is_late:
            self.sidecar.hear(self.sidecar.ledger.on_time(self.endpoint, self.began, self.world.now))
        self.plan.committed()

    def whole(self) -> None:
        self.end(None)
        self.outcome.ended = self.world.now
        self.plan.ended()

    def fail(self, failure: Failure) -> None:
        """Before the commit."""
        self.end(failure)
        self.carry_out(self.plan.failed(failure, self.world.now))

    def end(self, failure: Failure | None) -> None:
        endpoint, self.endpoint, self.job = self.endpoint, None, None
        assert endpoint is not None
        said: Verdict = verdict(
            failure, late=self.is_late, dropped=False, lateness_counts=endpoint.limit is None
        )
        cut = failure is not None and failure.kind is FailureKind.FIRST_PACKET_TIMEOUT
        self.sidecar.time_passes()
        ledger, now = self.sidecar.ledger, self.world.now
        self.sidecar.hear(ledger.finished(endpoint, said, now, None, self.era, began=self.began, cut=cut))
