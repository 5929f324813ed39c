"""Rules of what a pick sees of one endpoint."""

from __future__ import annotations

import math
from random import Random

import pytest

from sidecar.failure import Verdict
from sidecar.frozen import replace
from sidecar.health.endpoint import FLOOR
from sidecar.health.events import Ejected, ProbeChanged, Returned, ServiceRecovered, ServiceUnavailable
from sidecar.health.ledger import Ledger
from sidecar.policy.snapshot import ActiveHealth, PassiveHealth
from tests.health.script import (
    PLAIN,
    SERVICE,
    Script,
    ends,
    fails,
    is_ejected,
    is_refused,
    key,
    probe,
    service_of,
    starts,
    time_passes,
)

RAMPING = replace(PLAIN, consecutive_failures=1, base_ejection_time=30.0, ramp=10.0)


def ejected(name: str, until: float | None, reason: str = "consecutive_failures", k: int = 1) -> Ejected:
    seen = (100.0, 1) if reason == "consecutive_failures" else (0.0, 0)
    return Ejected(key(name), reason, *seen, k, until, enforced=True)


def ramping(names: str = "a", policy: PassiveHealth = RAMPING) -> Script:
    """`a` was ejected at 0 and is back since 30."""
    script = Script(service_of(names, policy))
    alone = [ServiceUnavailable(SERVICE, "ejected")] if names == "a" else []
    back = [ServiceRecovered(SERVICE)] if names == "a" else []
    script.at(0.0, fails("a"), ejected("a", 30.0), *alone)
    return script.at(30.0, time_passes, Returned(key("a"), "ejection_ended"), *back)


def admitted(script: Script, now: float, requests: int) -> int:
    """How many of so many requests `a` takes; the others are served by somebody else."""
    elsewhere = script.ledger
    elsewhere_service = service_of("z", name="fallback")
    elsewhere.configure({SERVICE: script.service, "fallback": elsewhere_service}, now)
    fallback = elsewhere.endpoints("fallback")[0]
    endpoint, taken = script.endpoint("a"), 0
    for _ in range(requests):
        chosen = endpoint if endpoint.available(now) else fallback
        taken += chosen is endpoint
        era = elsewhere.started(chosen, now)
        elsewhere.finished(chosen, Verdict.SUCCESS, now, None, era)
    return taken


def test_the_share_grows_in_a_straight_line_from_its_floor() -> None:
    """A server that has just come back has cold caches."""
    endpoint = ramping().endpoint("a")
    assert [endpoint.share(now) for now in (30.0, 35.0, 40.0, 99.0)] == [
        pytest.approx(FLOOR),
        pytest.approx(0.55),
        1.0,
        1.0,
    ]


@pytest.mark.parametrize(("at", "expected"), [(30.0, 10), (30.0 + 10 / 9, 20), (35.0, 55), (39.5, 95)])
def test_a_lone_endpoint_on_its_ramp_gets_its_share_of_the_requests(at: float, expected: int) -> None:
    """With nobody beside it in the service, the rest of the requests go to the fallback."""
    assert admitted(ramping(), at, 100) == pytest.approx(expected, abs=2)


def test_asking_does_not_use_up_the_share() -> None:
    """A pick may ask as often as it likes; only an attempt that starts costs."""
    endpoint = ramping().endpoint("a")
    assert all(endpoint.available(30.0) for _ in range(100))


def test_a_lull_saves_up_no_burst() -> None:
    """Else a ramp would begin with all that was not asked for before."""
    script = ramping()
    admitted(script, 30.0, 1)
    fallback = script.ledger.endpoints("fallback")[0]
    for _ in range(1000):
        script.ledger.finished(fallback, Verdict.SUCCESS, 30.0, None, script.ledger.started(fallback, 30.0))
    in_a_row = 0
    while script.endpoint("a").available(30.0):
        script.ledger.started(script.endpoint("a"), 30.0)
        in_a_row += 1
    assert in_a_row <= 2


def test_a_ramp_ends_by_itself() -> None:
    """The end is no event: the endpoint was back already."""
    script = ramping("ab")
    assert script.status("a").state == "ramp"
    script.at(40.0, time_passes)
    assert script.status("a").state == "available"
    assert script.status("a").since == 40.0


def test_an_ejection_ends_the_ramp() -> None:
    """The next return begins a ramp of its own."""
    script = ramping("ab").at(35.0, fails("a"), ejected("a", 65.0))
    assert script.ledger.next_deadline() == 65.0
    script.at(65.0, time_passes, Returned(key("a"), "ejection_ended"))
    assert script.status("a").until == 75.0


def test_without_a_ramp_the_whole_share_is_back_at_once() -> None:
    """`ramp: 0s` switches it off."""
    script = ramping("ab", replace(RAMPING, ramp=0.0))
    assert script.status("a").state == "available"
    assert script.endpoint("a").share(30.0) == 1.0


def test_due_back_names_the_later_of_ejection_and_retry_after() -> None:
    """The one that is due back first is tried when nothing else is left, so both have to count."""
    script = Script(service_of("ab", RAMPING))
    script.at(0.0, starts("a", "one")).at(1.0, fails("a"), ejected("a", 31.0))
    endpoint = script.endpoint("a")
    assert endpoint.due_back(2.0) == 31.0
    script.at(
        3.0,
        ends("one", Verdict.FAILURE, retry_after=60.0),
        Ejected(key("a"), "retry_after", 100.0, 1, 1, 63.0, enforced=True),
    )
    assert endpoint.due_back(4.0) == 63.0
    assert endpoint.why() == "ejected"


def test_who_is_available_is_due_back_now() -> None:
    """So that a minimum over endpoints needs no special case."""
    endpoint = Script(service_of("a")).endpoint("a")
    assert endpoint.due_back(5.0) == 5.0
    assert endpoint.why() == ""


def test_an_endpoint_that_only_a_probe_or_an_operator_can_bring_back_has_no_due_time() -> None:
    """Time alone changes nothing for it."""
    script = Script(service_of("ab", active=ActiveHealth(unhealthy_threshold=1)))
    script.at(1.0, probe("a", "timeout", passed=False), ProbeChanged(key("a"), False, "timeout"))
    script.at(
        1.0,
        is_ejected("b", None),
        ejected("b", None, "manual", 0),
        ServiceUnavailable(SERVICE, "ejected, probe_failed"),
    )
    assert script.endpoint("a").due_back(2.0) == math.inf
    assert script.endpoint("a").why() == "probe_failed"
    assert script.endpoint("b").due_back(2.0) == math.inf


def test_a_cooling_endpoint_is_due_back_when_it_asked_to_be() -> None:
    """Retry-After is a promise."""
    script = Script(service_of("ab"))
    script.at(0.0, is_refused("a", 7.0), ejected("a", 7.0, "retry_after", 0))
    assert script.endpoint("a").due_back(1.0) == 7.0
    assert script.endpoint("a").why() == "cooling"
    assert not script.available("a")
    assert script.endpoint("a").cooling(6.9)
    assert not script.endpoint("a").cooling(7.0)  # though nobody has brought it back yet
    assert script.endpoint("a").rate_limited


def test_the_wish_of_one_that_fails_its_probes_too_ends_when_it_said() -> None:
    """Then no time brings it back any more, and it is a last resort like any other that is out."""
    script = Script(service_of("ab", active=ActiveHealth(unhealthy_threshold=1)))
    script.at(0.0, is_refused("a", 7.0), ejected("a", 7.0, "retry_after", 0))
    script.at(1.0, probe("a", "timeout", passed=False), ProbeChanged(key("a"), False, "timeout"))
    assert [script.endpoint("a").cooling(now) for now in (6.9, 7.0)] == [True, False]
    assert script.endpoint("a").due_back(2.0) == math.inf


def test_a_removed_endpoint_is_never_picked_again() -> None:
    """A pick may still hold it in its hands."""
    script = Script(service_of("ab"))
    endpoint = script.endpoint("b")
    script.ledger.set_endpoints(SERVICE, [key("a").address], 1.0)
    assert not endpoint.available(1.0)
    assert endpoint.due_back(1.0) == math.inf
    assert endpoint.why() == "removed"


def test_in_flight_counts_whatever_has_begun_and_not_ended() -> None:
    """Least-request picks by it."""
    ledger = Ledger(Random(1))
    ledger.configure({SERVICE: service_of("a")}, 0.0)
    endpoint = ledger.endpoints(SERVICE)[0]
    eras = [ledger.started(endpoint, 0.0) for _ in range(3)]
    assert endpoint.in_flight == 3
    for verdict, era in zip(Verdict, eras, strict=True):
        ledger.finished(endpoint, verdict, 1.0, None, era)
    assert endpoint.in_flight == 0
    with pytest.raises(AssertionError, match="no attempt in flight"):
        ledger.finished(endpoint, Verdict.SUCCESS, 1.0)
