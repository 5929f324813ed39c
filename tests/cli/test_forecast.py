"""Rules of the forecast: it says what the data path would do, for what the admin API tells."""

from __future__ import annotations

from random import Random

import pytest
from llmsidecar.v1 import health_pb2 as pb

from sidecar.admin.convert import endpoint_message
from sidecar.admin.facts import Moment
from sidecar.attempt.budget import RetryBudget
from sidecar.attempt.plan import Plan, Try, Wait
from sidecar.cli.forecast import Attempt, Forecast, Request, forecast
from sidecar.failure import Failure, FailureKind
from sidecar.health.endpoint import EndpointHealth
from sidecar.health.ledger import Ledger
from sidecar.policy.build import DEFAULT_FALLBACK_ON
from sidecar.policy.snapshot import AdaptiveConcurrency, PassiveHealth, Route, Service, Snapshot, Url
from sidecar.route.candidates import Candidates, ServicePicker
from sidecar.terms import EndpointKey
from tests.client.messages import START, endpoint

LATE = Failure(FailureKind.FIRST_PACKET_TIMEOUT)
REFUSED = Failure(FailureKind.CONNECT_FAILURE)
BUSY = Failure(FailureKind.STATUS, status=429)
CHAT = Request("/v1/chat/completions", "gpt-4o", {})
FALLBACK_ON = frozenset(DEFAULT_FALLBACK_ON)


def service(name: str, **more: object) -> Service:
    return Service(name, Url("http", name, 80, "/v1", name), **more)  # type: ignore[arg-type]


def policy(*routes: Route, **services: Service) -> Snapshot:
    known = services or {name: service(name) for name in ("own", "vendor")}
    default = Route("/v1#0", tuple(known), fallback_on=FALLBACK_ON)
    return Snapshot(3, known, routes or (default,))


def ejected(address: str, seconds: int, **more: object) -> pb.Endpoint:
    told = endpoint("own", address, reason="failure_percentage", **more)
    told.state, told.available = pb.ENDPOINT_STATE_EJECTED, False
    told.until.FromSeconds(START + seconds)
    return told


def ask(snapshot: Snapshot, *endpoints: pb.Endpoint, failure: Failure = LATE) -> Forecast:
    return forecast(snapshot, endpoints, CHAT, failure, float(START))


def places(told: Forecast) -> list[str]:
    return [f"{attempt.service} {attempt.endpoint}" for attempt in told.attempts]


def test_services_are_tried_in_the_order_of_the_route() -> None:
    """And the last one is waited for, as the data path does."""
    told = ask(policy(), endpoint("own", "a:1"), endpoint("vendor", "v:1"))
    assert told.attempts == (
        Attempt(1, "own", "a:1", (), "", 1.0, last_resort=False),
        Attempt(2, "vendor", "v:1", (), "first_packet_timeout", 1.0, last_resort=False),
    )
    assert told.end == "the last one is not cut for lateness: nothing better is left"


def test_an_ejected_endpoint_is_passed_over_and_says_until_when() -> None:
    """The question of the one who is on call."""
    told = ask(policy(), ejected("a:1", 12), endpoint("vendor", "v:1"))
    assert places(told) == ["vendor v:1"]
    assert told.attempts[0].reason == "unhealthy"
    assert told.other_endpoints == (("own", "a:1", "ejected: failure_percentage, due back in 12s"),)


def test_when_everything_is_out_the_first_one_back_is_tried() -> None:
    """Ejection never leaves a route with nothing to try."""
    snapshot = policy(own=service("own"))
    told = ask(snapshot, ejected("a:1", 60), ejected("b:1", 5))
    assert places(told) == ["own b:1"]
    assert told.attempts[0].last_resort


def test_a_request_that_waits_for_a_service_that_is_left_alone_is_not_refused() -> None:
    """Where the route allows it."""
    resting = ejected("a:1", 3)
    resting.state = pb.ENDPOINT_STATE_COOLING
    patient = Route("/v1#0", ("own",), fallback_on=FALLBACK_ON, wait_for_retry_after=5.0)
    told = ask(policy(patient, own=service("own")), resting)
    assert (told.attempts, told.end[:17]) == ((), "it waits about 3s")
    told = ask(policy(own=service("own")), resting)
    assert told.end.startswith("the app gets overloaded")


def test_endpoints_that_chance_chooses_between_are_all_named() -> None:
    """None of them is left out as not tried."""
    told = ask(policy(own=service("own")), endpoint("own", "a:1"), endpoint("own", "b:1"))
    first = told.attempts[0]
    assert {first.endpoint, *first.others} == {"a:1", "b:1"}
    assert told.other_endpoints == ()


def test_a_refusal_is_retried_in_the_service_before_the_next() -> None:
    """Unlike a late packet."""
    told = ask(policy(), endpoint("own", "a:1"), endpoint("vendor", "v:1"), failure=REFUSED)
    assert places(told) == ["own a:1"] * 2 + ["vendor v:1"] * 2
    assert told.end == "the app gets the last failure: connect_failure"


def test_a_growing_share_is_told_with_the_attempt() -> None:
    """Half of the ramp is over: 0.1 + 0.9 / 2."""
    growing = endpoint("own", "a:1")
    growing.state = pb.ENDPOINT_STATE_RAMP
    growing.until.FromSeconds(START + 5)
    told = ask(policy(own=service("own", passive_health=PassiveHealth(ramp=10.0))), growing)
    assert told.attempts[0].share == pytest.approx(0.55)


def test_a_full_service_is_passed_over() -> None:
    """By its own limit, or by the one that adapts; ghosts count."""
    full = policy(own=service("own", max_concurrency=4), vendor=service("vendor"))
    told = ask(full, endpoint("own", "a:1", in_flight=4), endpoint("vendor", "v:1"))
    assert (places(told), told.attempts[0].reason) == (["vendor v:1"], "overloaded")
    assert told.other_endpoints[0][2] == "its service is full: max_concurrency is 4"
    limited = endpoint("own", "a:1", in_flight=4, ghosts=2, concurrency_limit=5.5)
    told = ask(policy(), limited, endpoint("vendor", "v:1"))
    assert places(told) == ["vendor v:1"]
    assert told.other_endpoints[0][2].startswith("at its adaptive limit")


def test_what_may_not_fall_back_ends_with_its_failure() -> None:
    """`fallback_on` is the operator's word."""
    strict = Route("/v1#0", ("own", "vendor"), fallback_on=frozenset({"5xx"}))
    told = ask(policy(strict), endpoint("own", "a:1"), endpoint("vendor", "v:1"), failure=BUSY)
    assert (places(told), told.end) == (["own a:1"], "the app gets the last failure: 429")


def test_a_service_without_endpoints_is_told_as_such() -> None:
    """Its name may not have been resolved yet."""
    told = ask(policy(own=service("own")))
    assert (told.attempts, told.end) == ((), "the app gets connect_failure: nobody to pick: no_endpoint")


def test_every_other_route_says_why_it_does_not_take_the_request() -> None:
    """Path, header, model, and the place in the list."""
    snapshot = policy(
        Route("/v2#0", ("own",), path_prefix="/v2"),
        Route("/v1#1", ("own",), headers=(("x-team", "search"),)),
        Route("/v1#2", ("own",), models=("llama-*", "qwen")),
        Route("/v1#3", ("own",)),
        Route("/v1#4", ("own",)),
    )
    told = ask(snapshot, endpoint("own", "a:1"))
    assert told.route is snapshot.routes[3]
    assert told.other_routes == (
        ("/v2#0", "path /v1/chat/completions is not under /v2"),
        ("/v1#1", "no header x-team: search"),
        ("/v1#2", "model gpt-4o is not one of llama-*, qwen"),
        ("/v1#4", "route /v1#3 stands before it"),
    )


@pytest.mark.parametrize("failure", [LATE, REFUSED, BUSY], ids=lambda failure: failure.code)
@pytest.mark.parametrize("seed", range(60))
def test_the_forecast_is_what_the_data_path_decides(seed: int, failure: Failure) -> None:
    """The same rules on a copy of the state: each attempt of the real plan is among those foretold, in order."""
    rng = Random(seed)
    adaptive = AdaptiveConcurrency() if rng.random() < 0.5 else None
    snapshot = policy(
        own=service("own", max_concurrency=rng.choice([None, 3]), adaptive_concurrency=adaptive),
        other=service("other"),
        vendor=service("vendor", load_balancing=rng.choice(["least_request", "round_robin"])),
    )
    ledger, now = _worn(snapshot, rng)
    told = [endpoint_message(status, Moment(now, START * 10**9)) for status in ledger.statuses(now)]
    foretold = forecast(snapshot, told, CHAT, failure, float(START)).attempts
    happened = _plan(snapshot, ledger, failure, now)
    assert [service for service, _ in happened] == [attempt.service for attempt in foretold]
    for (_, address), attempt in zip(happened, foretold, strict=True):
        alike = {attempt.endpoint, *attempt.others}
        seen_before = {one.endpoint for one in foretold[: attempt.number - 1]}
        assert address in alike | seen_before


def _worn(snapshot: Snapshot, rng: Random) -> tuple[Ledger, float]:
    """A ledger after some traffic, ejections by hand and failed probes; nobody's share is growing."""
    ledger, now = Ledger(rng), 100.0
    ledger.configure(snapshot.services, now)
    for name in snapshot.services:
        ledger.set_endpoints(name, [f"{name}-{place}:80" for place in range(rng.randint(1, 3))], now)
        for one in ledger.endpoints(name):
            for _ in range(rng.randint(0, 2)):
                ledger.started(one, now)
            if rng.random() < 0.4:
                ledger.eject(EndpointKey(*one.key), rng.choice([None, 5.0, 60.0]), now)
    return ledger, now


def _plan(snapshot: Snapshot, ledger: Ledger, failure: Failure, now: float) -> list[tuple[str, str]]:
    route, rng = snapshot.routes[0], Random(1)

    def picker(name: str) -> ServicePicker[EndpointHealth]:
        return ServicePicker(snapshot.services[name], lambda: ledger.endpoints(name), rng)

    chooser = Candidates([picker(name) for name in route.services])
    plan = Plan(route, chooser, RetryBudget(route.retry_budget), rng, now)
    command: object = plan.begin(now)
    happened: list[tuple[str, str]] = []
    while isinstance(command, Try | Wait):
        if isinstance(command, Wait):
            command = plan.woke(now)
            continue
        happened.append(command.endpoint.key)
        command = plan.late(now) if failure is LATE else plan.failed(failure, now)
    return happened
