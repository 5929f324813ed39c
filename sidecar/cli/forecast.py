"""What would become of one request now: the daemon's own rules, fed with what the admin API tells. No clock, no I/O.

In:      the running policy as a Snapshot, endpoints and what is left alone as ListEndpoints gives them, a request,
         and how every attempt of it shall fail.
Out:     the route, the attempts in order, and why each other route and endpoint is not among them.
How:     Router, Candidates and Plan are those of the data path; only the endpoints are copies.
Exact:   but for what only the daemon knows: which of the endpoints in rotation chance draws (all of them are
         named), whether a growing share lets this very request in (told with the attempt), whether an adaptive limit
         that is nearly reached does, and how much of the retry budget and of a rate limit is used at the moment.
Units:   seconds; now is 0.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from llmsidecar.v1 import health_pb2 as pb

from sidecar.attempt.budget import RetryBudget
from sidecar.attempt.plan import Answer, Drop, Plan, Queue, Try, Wait
from sidecar.cli.describe import in_flight_words
from sidecar.failure import Failure, FailureKind
from sidecar.health.scopes import Blame, Cooling, Scope, Scopes
from sidecar.policy.snapshot import Route, Snapshot
from sidecar.route.candidates import Candidates, ServicePicker
from sidecar.route.match import Router
from sidecar.terms import EndpointKey

NOW = 0.0
IN_ROTATION = (pb.ENDPOINT_STATE_AVAILABLE, pb.ENDPOINT_STATE_RAMP)
WITHOUT_END = (pb.ENDPOINT_STATE_EJECTED, pb.ENDPOINT_STATE_COOLING, pb.ENDPOINT_STATE_PROBE_FAILED)


@dataclass(frozen=True, slots=True)
class Request:
    path: str  # without its query
    model: str | None
    headers: Mapping[str, str]  # names in lower case

    def header(self, name: bytes) -> bytes | None:
        value = self.headers.get(name.decode())
        return None if value is None else value.encode()


@dataclass(frozen=True, slots=True)
class Attempt:
    number: int
    service: str
    endpoint: str
    others: tuple[str, ...]  # endpoints of the service that chance could draw as well
    reason: str  # why it is not the first choice; empty: it is
    share: float  # of the requests it would get if it had never been away
    last_resort: bool  # it is out, and tried because nobody is in


@dataclass(frozen=True, slots=True)
class Forecast:
    route: Route | None
    other_routes: tuple[tuple[str, str], ...]  # name and why not
    attempts: tuple[Attempt, ...] = ()
    end: str = ""
    other_endpoints: tuple[tuple[str, str, str], ...] = ()  # service, endpoint, why not


class Seen:
    """An endpoint as ListEndpoints shows it, in the form that picking asks for."""

    def __init__(self, told: pb.Endpoint, until: float, ramp: float) -> None:
        self.told = told
        self.key = EndpointKey(told.service, told.endpoint)
        self.in_flight = told.in_flight
        self._until = until  # seconds from now; inf: nobody knows
        self._ramp = ramp

    def available(self, now: float) -> bool:
        return self.told.available and not self._is_full()

    def pace_at(self, now: float) -> float | None:
        return None  # not told

    def cooling(self, now: float) -> bool:
        return self.told.state == pb.ENDPOINT_STATE_COOLING and self._until > now

    @property
    def rate_limited(self) -> bool:
        return False  # not told

    def overloaded(self, now: float) -> bool:
        return self.told.state in IN_ROTATION and not self.available(now)

    def share(self, now: float) -> float:
        if self.told.state != pb.ENDPOINT_STATE_RAMP or not self._ramp or math.isinf(self._until):
            return 1.0
        return 0.1 + 0.9 * max(0.0, 1.0 - self._until / self._ramp)

    def due_back(self, now: float) -> float:
        return self._until if self.told.state in WITHOUT_END else now

    def why(self) -> str:
        return "" if self.available(NOW) else self.told.reason

    def _is_full(self) -> bool:
        told = self.told
        return told.HasField("concurrency_limit") and told.in_flight + told.ghosts >= max(
            1.0, told.concurrency_limit
        )


def forecast(
    snapshot: Snapshot,
    endpoints: Sequence[pb.Endpoint],
    request: Request,
    failure: Failure,
    at: float,
    cooling: Sequence[pb.ScopeCooled] = (),
) -> Forecast:
    """`at`: the Unix time of now, against which `until` is told."""
    route = Router(snapshot).match(request.path, request.model, request.header)
    others = tuple(
        (other.name, why_not(other, request, route)) for other in snapshot.routes if other is not route
    )
    if route is None:
        return Forecast(None, others)
    seen = [_seen(told, snapshot, at) for told in endpoints]
    closed = {name: _closed(snapshot, name, request.model, cooling, at) for name in route.services}
    chooser = _candidates(snapshot, route, seen, closed)
    attempts, end = _attempts(route, chooser, seen, failure)
    tried = {(attempt.service, name) for attempt in attempts for name in (attempt.endpoint, *attempt.others)}
    left_out = (
        (*one.key, _why_left_out(one, snapshot, route, chooser, closed))
        for one in seen
        if one.key not in tried
    )
    return Forecast(route, others, tuple(attempts), end, tuple(left_out))


def why_not(route: Route, request: Request, taken: Route | None) -> str:
    """Why a route does not take this request."""
    prefix = route.path_prefix.rstrip("/")
    if not (request.path == prefix or request.path.startswith(f"{prefix}/")):
        return f"path {request.path} is not under {route.path_prefix}"
    for name, value in route.headers:
        if (given := request.headers.get(name)) != value:
            return f"header {name} is {given!r}, wanted {value!r}" if given else f"no header {name}: {value}"
    alone = Snapshot(0, {}, (route,))
    if Router(alone).match(request.path, request.model, request.header) is None:
        return f"model {request.model or 'none'} is not one of {', '.join(route.models)}"
    return f"route {taken.name if taken else '?'} stands before it"


def _seen(told: pb.Endpoint, snapshot: Snapshot, at: float) -> Seen:
    until = max(0.0, told.until.ToNanoseconds() / 1e9 - at) if told.HasField("until") else math.inf
    service = snapshot.services.get(told.service)
    return Seen(told, until, service.passive_health.ramp if service else 0.0)


def _closed(
    snapshot: Snapshot, name: str, asked: str | None, told: Sequence[pb.ScopeCooled], at: float
) -> Cooling | None:
    """Why nothing is sent to the service for this model at present: its keys, the model or all of it are left alone."""
    service, scopes = snapshot.services[name], Scopes()
    scopes.keys = tuple(Scope("credential", key) for key in service.credential_names())
    for one in told:
        left = one.until.ToNanoseconds() / 1e9 - at
        if one.service == name and one.enforced and left > 0.0:
            scopes.cool(Blame(Scope(one.scope, one.name), one.reason, left, left, left), left, NOW)
    return scopes.closed(name, service.model_for(asked) or asked, NOW)


def _candidates(
    snapshot: Snapshot, route: Route, seen: Sequence[Seen], closed: Mapping[str, Cooling | None]
) -> Candidates[Seen]:
    def picker(name: str) -> ServicePicker[Seen]:
        mine = [one for one in seen if one.key.service == name]
        cooling = closed[name]
        skipped = None if cooling is None else cooling.skipped()
        return ServicePicker(snapshot.services[name], lambda: mine, Random(0), lambda model, now: skipped)

    return Candidates([picker(name) for name in route.services])


def _attempts(
    route: Route, chooser: Candidates[Seen], seen: Sequence[Seen], failure: Failure
) -> tuple[list[Attempt], str]:
    """The plan of a request whose every attempt fails alike."""
    budget = RetryBudget(route.retry_budget)
    plan = Plan(route, chooser, budget, Random(0), NOW)
    command: Try[Seen] | Wait | Queue | Drop | Answer | None = plan.begin(NOW)
    attempts: list[Attempt] = []
    tried: set[EndpointKey] = set()
    while True:
        match command:
            case Try():
                attempts.append(_attempt(command, seen, tried))
                tried.add(command.endpoint.key)
                late = failure.kind is FailureKind.FIRST_PACKET_TIMEOUT
                command = plan.late(NOW) if late else plan.failed(failure, NOW)
            case Wait(until) if not attempts:
                return attempts, f"it waits about {until:.0f}s until one that wants to be left alone is back"
            case Wait():
                command = plan.woke(NOW)
            case Queue():
                command = plan.waited_enough(NOW)
            case Drop():
                raise AssertionError("only one of two attempts is ever dropped, and this plan does not hedge")
            case Answer() if attempts:
                return attempts, f"the app gets the last failure: {command.failure.code}"
            case Answer():
                return attempts, f"the app gets {command.failure.code}: {command.failure.detail}"
            case None:
                return attempts, "the last one is not cut for lateness: nothing better is left"


def _attempt(command: Try[Seen], seen: Sequence[Seen], tried: Collection[EndpointKey]) -> Attempt:
    one = command.endpoint
    alike = [
        other.key.address
        for other in seen
        if other.key.service == one.key.service
        and other is not one
        and other.key not in tried
        and other.available(NOW)
        and one.available(NOW)
    ]
    return Attempt(
        number=command.number,
        service=one.key.service,
        endpoint=one.key.address,
        others=tuple(alike),
        reason=command.reason or "",
        share=one.share(NOW),
        last_resort=not one.available(NOW),
    )


def _why_left_out(
    one: Seen,
    snapshot: Snapshot,
    route: Route,
    chooser: Candidates[Seen],
    closed: Mapping[str, Cooling | None],
) -> str:
    service = snapshot.services.get(one.key.service)
    if service is None or one.key.service not in route.services:
        return f"its service is not in route {route.name}"
    if (cooling := closed[one.key.service]) is not None:
        return f"left alone: {cooling.reason}, for {cooling.until:.0f}s more"
    if one.overloaded(NOW):
        return f"at its adaptive limit: {in_flight_words(one.told)} in flight"
    if not one.told.available:
        return state_words(one.told, one.due_back(NOW))
    if service.max_concurrency and not chooser.usable(route.services.index(service.name), NOW):
        return f"its service is full: max_concurrency is {service.max_concurrency}"
    return "in rotation; the attempts before it leave no need or no turn for it"


def state_words(told: pb.Endpoint, due_back: float) -> str:
    """`ejected: consecutive_failures, due back in 12s`"""
    state = pb.EndpointState.Name(told.state).removeprefix("ENDPOINT_STATE_").lower()
    why = f": {told.reason}" if told.reason else ""
    if told.state not in WITHOUT_END:
        return f"{state}{why}"
    back = (
        "until a probe or an operator brings it back"
        if math.isinf(due_back)
        else f"due back in {due_back:.0f}s"
    )
    return f"{state}{why}, {back}"
