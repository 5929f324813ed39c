"""Rules of what an operator sees."""

from __future__ import annotations

from sidecar.failure import Verdict
from sidecar.frozen import replace
from sidecar.health.endpoint import Absence, EndpointHealth, State, Traffic
from sidecar.health.status import EndpointStatus, status_of
from sidecar.policy.snapshot import AdaptiveConcurrency
from tests.health.script import PLAIN, SERVICE, Script, attempt, ends, key, service_of, starts


def endpoint() -> EndpointHealth:
    return EndpointHealth(key("a"), replace(PLAIN, ramp=10.0, probation_requests=1), Traffic(), 1.0)


def test_a_status_tells_everything_about_an_endpoint_in_rotation() -> None:
    """The fields are those of the message Endpoint."""
    script = Script(service_of("a")).at(1.0, starts("a", "one")).at(2.0, starts("a", "two"))
    script.at(2.0, attempt("a", Verdict.SUCCESS, 3)).at(3.0, ends("one", Verdict.FAILURE))
    assert script.status("a") == EndpointStatus(
        service=SERVICE,
        endpoint="a:80",
        state="available",
        available=True,
        reason="",
        until=None,
        in_flight=1,
        requests=4,
        failures=1,
        failure_percentage=25.0,
        consecutive_failures=1,
        ejection_multiplier=0,
        since=0.0,
    )


def test_a_status_tells_of_the_adaptive_limit() -> None:
    """It is in rotation, but who looks now is told that it would not be picked, and why."""
    service = replace(service_of("a"), adaptive_concurrency=AdaptiveConcurrency())
    script = Script(service).at(0.0, starts("a", "one"))
    endpoint = script.endpoint("a")
    script.ledger.late(endpoint, 0.0, 0.2)
    script.ledger.finished(endpoint, Verdict.IGNORABLE, 0.2, began=0.0, cut=True)
    script.now = 0.3
    status = script.status("a")
    assert (status.state, status.available, status.reason) == ("available", False, "overloaded")
    assert (status.concurrency_limit, status.ghosts, status.in_flight) == (1.0, 1, 0)


def test_the_counts_are_those_of_the_window_now() -> None:
    """Not of the last time that somebody sent a request."""
    script = Script(service_of("a")).at(1.0, attempt("a", Verdict.FAILURE))
    (later,) = script.ledger.statuses(60.0)
    assert (later.requests, later.failures, later.failure_percentage) == (0, 0, 0.0)


def test_each_state_has_its_reason_and_its_end() -> None:
    """From the worst fact to the mildest, as they end one by one."""
    it = endpoint()
    it.put_on_probation(2.0)
    it.probe.healthy, it.probe.reason = False, "timeout"
    it.cooled = Absence("retry_after", 20.0, enforced=True)
    it.eject(Absence("probation_failed", 9.0, enforced=True), 3.0)

    def shown(now: float) -> tuple[str, str, float | None, float, bool]:
        it.settle(now)
        status = status_of(it, now)
        return status.state, status.reason, status.until, status.since, status.available

    assert shown(4.0) == ("ejected", "probation_failed", 9.0, 3.0, False)
    it.put_on_probation(9.0)
    assert shown(9.0) == ("cooling", "retry_after", 20.0, 9.0, False)
    it.cooled = None
    assert shown(20.0) == ("probe_failed", "timeout", None, 20.0, False)
    it.probe.reset()
    assert shown(30.0) == ("probation", "ejection_ended", None, 30.0, True)
    it.take(31.0)
    assert shown(31.0) == ("probation", "ejection_ended", None, 30.0, False)
    it.bring_back("probation_passed", 32.0, ramp=True)
    assert shown(32.0) == ("ramp", "probation_passed", 42.0, 32.0, True)
    it.end_ramp(42.0)
    assert shown(42.0) == ("available", "", None, 42.0, True)


def test_what_is_only_reported_is_no_state() -> None:
    """`enforce: false` leaves the endpoint where it is."""
    it = endpoint()
    it.eject(Absence("consecutive_failures", 9.0, enforced=False), 3.0)
    assert status_of(it, 4.0).state == State.AVAILABLE.value
    assert status_of(it, 4.0).until is None
