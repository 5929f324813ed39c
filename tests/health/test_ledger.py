"""Rules of the ledger, as scripts."""

from __future__ import annotations

from random import Random

import pytest

from sidecar.failure import Verdict
from sidecar.frozen import replace
from sidecar.health.events import (
    Ejected,
    EndpointAdded,
    EndpointRemoved,
    HealthEvent,
    Probation,
    ProbeChanged,
    Returned,
    ServiceRecovered,
    ServiceUnavailable,
)
from sidecar.health.ledger import Ledger
from sidecar.policy.snapshot import ActiveHealth
from tests.health.script import (
    PLAIN,
    SERVICE,
    URL,
    Script,
    ends,
    fails,
    is_ejected,
    is_refused,
    is_restored,
    key,
    list_is,
    passive_is,
    policy_is,
    probe,
    service_of,
    starts,
    succeeds,
    time_passes,
)

A, B, C = key("a"), key("b"), key("c")
DOWN = ServiceUnavailable(SERVICE, "ejected")
UP = ServiceRecovered(SERVICE)

ONE_FAILURE = replace(PLAIN, consecutive_failures=1)
CAREFUL = replace(ONE_FAILURE, probation_requests=1)
ACTIVE = ActiveHealth(unhealthy_threshold=1, healthy_threshold=1)


def ejected(
    who: str,
    until: float | None,
    reason: str = "consecutive_failures",
    *,
    k: int = 1,
    requests: int = 1,
    percentage: float = 100.0,
    enforced: bool = True,
) -> Ejected:
    return Ejected(key(who), reason, percentage, requests, k, until, enforced)


def manual(who: str, until: float | None, k: int = 0) -> Ejected:
    return ejected(who, until, "manual", k=k, requests=0, percentage=0.0)


def cooled(who: str, until: float, *, enforced: bool = True) -> Ejected:
    return ejected(who, until, "retry_after", k=0, requests=0, percentage=0.0, enforced=enforced)


# Ejection and return.


def test_the_reference_scenario() -> None:
    """Half of the requests fail: out for 30 s, then for 60 s when it has not recovered, then back."""
    rule = replace(PLAIN, failure_percentage_threshold=50.0, interval=1.0, consecutive_failures=0)
    (
        Script(service_of("a", rule))
        .at(0.0, succeeds("a", 3))
        .at(1.0, fails("a", 2))
        .at(2.0, fails("a"), ejected("a", 32.0, "failure_percentage", requests=6, percentage=50.0), DOWN)
        .at(32.0, time_passes, Returned(A, "ejection_ended"), UP)
        .at(32.5, fails("a", 5), ejected("a", 92.5, "failure_percentage", k=2, requests=5), DOWN)
        .at(92.5, time_passes, Returned(A, "ejection_ended"), UP)
        .at(95.0, succeeds("a", 50))
        .at(96.0, fails("a", 49))
    )


def test_k_falls_with_each_interval_in_good_health() -> None:
    """Two seconds of peace take back two ejections."""
    script = (
        Script(service_of("a", ONE_FAILURE))
        .at(0.0, fails("a"), ejected("a", 30.0), DOWN)
        .at(30.0, time_passes, Returned(A, "ejection_ended"), UP)
        .at(30.0, fails("a"), ejected("a", 90.0, k=2), DOWN)
        .at(90.0, time_passes, Returned(A, "ejection_ended"), UP)
    )
    assert script.status("a").ejection_multiplier == 2
    script.at(91.5, succeeds("a"))
    assert script.status("a").ejection_multiplier == 1
    script.at(92.5, fails("a"), ejected("a", 122.5, k=1, percentage=50.0, requests=2), DOWN)


def test_stragglers_that_end_during_the_ejection_say_nothing() -> None:
    """They began before it was known; k must not rise twice for one outage."""
    (
        Script(service_of("a", ONE_FAILURE))
        .at(0.0, starts("a", "one"))
        .at(0.0, starts("a", "two"))
        .at(1.0, fails("a"), ejected("a", 31.0), DOWN)
        .at(2.0, ends("one", Verdict.FAILURE))
        .at(31.0, time_passes, Returned(A, "ejection_ended"), UP)
        .at(32.0, ends("two", Verdict.FAILURE))
        .at(32.0, fails("a"), ejected("a", 62.0, k=1), DOWN)
    )


def test_counters_start_anew_after_the_return() -> None:
    """One old failure more must not throw it out again."""
    script = (
        Script(service_of("a", replace(PLAIN, consecutive_failures=3, base_ejection_time=1.0, window=60.0)))
        .at(0.0, fails("a", 3), ejected("a", 1.0, requests=3), DOWN)
        .at(1.0, time_passes, Returned(A, "ejection_ended"), UP)
        .at(1.5, fails("a", 2))
    )
    assert script.status("a").requests == 2
    assert script.status("a").consecutive_failures == 2


def test_an_ignorable_outcome_says_nothing() -> None:
    """An app that hangs up is not the endpoint's fault, nor to its credit."""
    script = Script(service_of("a", replace(PLAIN, consecutive_failures=2))).at(0.0, fails("a"))
    script.at(1.0, starts("a", "one")).at(2.0, ends("one", Verdict.IGNORABLE))
    assert script.status("a").consecutive_failures == 1
    assert script.status("a").requests == 1
    script.at(3.0, fails("a"), ejected("a", 33.0, requests=2), DOWN)


def test_the_share_limit_keeps_the_others_in_rotation() -> None:
    """Of two endpoints 50 per cent is one; it may leave as soon as the other is back."""
    (
        Script(service_of("ab", replace(ONE_FAILURE, max_ejection_percent=50.0)))
        .at(0.0, fails("a"), ejected("a", 30.0))
        .at(1.0, fails("b"))
        .at(30.0, time_passes, Returned(A, "ejection_ended"))
        .at(31.0, fails("b"), ejected("b", 61.0, requests=1))
    )


def test_whatever_keeps_an_endpoint_out_counts_for_the_share_limit() -> None:
    """The limit is there so that somebody is left to serve."""
    half = replace(ONE_FAILURE, max_ejection_percent=50.0)
    (
        Script(service_of("ab", half, ACTIVE))
        .at(0.0, probe("a", "timeout", passed=False), ProbeChanged(A, False, "timeout"))
        .at(1.0, fails("b"))
        .at(2.0, probe("a", "status 200", passed=True), ProbeChanged(A, True, "status 200"))
        .at(3.0, is_refused("a", 5.0), cooled("a", 8.0))
        .at(4.0, fails("b"))
        .at(8.0, time_passes, Returned(A, "retry_after_ended"))
        .at(9.0, fails("b"), ejected("b", 39.0, requests=3))
    )


def test_an_ejection_limit_of_0_percent_ejects_nobody() -> None:
    """And therefore needs no probation after an operator's ejection either."""
    (
        Script(service_of("a", replace(CAREFUL, max_ejection_percent=0.0)))
        .at(0.0, fails("a", 20))
        .at(30.0, is_ejected("a", 5.0), manual("a", 35.0), DOWN)
        .at(35.0, time_passes, Returned(A, "ejection_ended"), UP)
    )


# Probation.


def test_one_success_on_probation_brings_an_endpoint_back() -> None:
    """The service counts as recovered only then: until it is proved, a probation is a guess."""
    script = (
        Script(service_of("a", CAREFUL))
        .at(0.0, fails("a"), ejected("a", 30.0), DOWN)
        .at(30.0, time_passes, Probation(A, 1))
    )
    assert script.available("a")
    assert script.status("a").state == "probation"
    assert not script.ledger.service_available(SERVICE, 30.0)
    script.at(31.0, starts("a", "one"))
    assert not script.available("a")
    assert script.endpoint("a").why() == "probation"
    script.at(32.0, ends("one", Verdict.SUCCESS), Returned(A, "probation_passed"), UP)
    assert script.ledger.service_available(SERVICE, 32.0)


def test_a_failure_on_probation_ejects_again_for_longer() -> None:
    """It has not recovered: one request paid for knowing that."""
    (
        Script(service_of("a", CAREFUL))
        .at(0.0, fails("a"), ejected("a", 30.0), DOWN)
        .at(30.0, time_passes, Probation(A, 1))
        .at(40.0, fails("a"), ejected("a", 100.0, "probation_failed", k=2))
        .at(100.0, time_passes, Probation(A, 1))
        .at(100.0, succeeds("a"), Returned(A, "probation_passed"), UP)
    )


def test_an_ignorable_outcome_gives_its_probation_slot_back() -> None:
    """Else an app that hangs up would keep the endpoint on probation for ever."""
    script = (
        Script(service_of("a", CAREFUL))
        .at(0.0, fails("a"), ejected("a", 30.0), DOWN)
        .at(30.0, time_passes, Probation(A, 1))
        .at(31.0, starts("a", "one"))
        .at(32.0, ends("one", Verdict.IGNORABLE))
    )
    assert script.available("a")
    script.at(33.0, succeeds("a"), Returned(A, "probation_passed"), UP)


def test_probation_admits_no_more_requests_than_it_needs() -> None:
    """In flight and passed together: three are asked for, three are sent."""
    script = (
        Script(service_of("a", replace(CAREFUL, probation_requests=3)))
        .at(0.0, fails("a"), ejected("a", 30.0), DOWN)
        .at(30.0, time_passes, Probation(A, 3))
        .at(31.0, starts("a", "one"))
        .at(31.0, starts("a", "two"))
        .at(32.0, ends("one", Verdict.SUCCESS))
        .at(32.0, starts("a", "three"))
    )
    assert not script.available("a")
    script.at(33.0, ends("two", Verdict.SUCCESS))
    assert not script.available("a")
    script.at(34.0, ends("three", Verdict.SUCCESS), Returned(A, "probation_passed"), UP)


def test_a_stream_from_before_the_ejection_neither_passes_nor_fails_the_probation() -> None:
    """Streams outlive ejections: one that began ten minutes ago knows nothing about now."""
    (
        Script(service_of("a", CAREFUL))
        .at(0.0, starts("a", "long"))
        .at(0.0, starts("a", "longer"))
        .at(1.0, fails("a"), ejected("a", 31.0), DOWN)
        .at(31.0, time_passes, Probation(A, 1))
        .at(32.0, ends("long", Verdict.SUCCESS))
        .at(33.0, ends("longer", Verdict.FAILURE))
        .at(34.0, succeeds("a"), Returned(A, "probation_passed"), UP)
    )


def test_an_attempt_without_its_era_speaks_about_the_present() -> None:
    """Who does not know when an attempt began still gets every other rule."""
    script = Script(service_of("a", CAREFUL)).at(0.0, fails("a"), ejected("a", 30.0), DOWN)
    script.at(30.0, time_passes, Probation(A, 1)).at(31.0, starts("a", "one"))
    endpoint = script.endpoint("a")
    assert script.ledger.finished(endpoint, Verdict.SUCCESS, 32.0) == [Returned(A, "probation_passed"), UP]


def test_a_policy_that_asks_for_less_probation_ends_one_that_has_passed() -> None:
    """Nobody would be let in any more to end it."""
    (
        Script(service_of("a", replace(CAREFUL, probation_requests=3)))
        .at(0.0, fails("a"), ejected("a", 30.0), DOWN)
        .at(30.0, time_passes, Probation(A, 3))
        .at(31.0, starts("a", "one"))
        .at(32.0, succeeds("a"))
        .at(33.0, passive_is(probation_requests=1), Returned(A, "probation_passed"), UP)
        .at(34.0, ends("one", Verdict.IGNORABLE))
    )


def test_an_endpoint_on_probation_counts_for_the_share_limit() -> None:
    """It is not back yet: were it to fail, two of two would be out."""
    (
        Script(service_of("ab", replace(CAREFUL, max_ejection_percent=50.0)))
        .at(0.0, fails("a"), ejected("a", 30.0))
        .at(30.0, time_passes, Probation(A, 1))
        .at(31.0, fails("b"))
        .at(32.0, fails("a"), ejected("a", 92.0, "probation_failed", k=2))
    )


def test_a_share_limit_that_was_lowered_holds_from_the_next_return_on() -> None:
    """Or all would go on leaving together, each failed probation being an ejection of its own."""
    half = service_of("ab", replace(CAREFUL, max_ejection_percent=50.0))
    (
        Script(service_of("ab", CAREFUL))
        .at(0.0, fails("a"), ejected("a", 30.0))
        .at(1.0, fails("b"), ejected("b", 31.0), DOWN)
        .at(2.0, policy_is(half))
        .at(30.0, time_passes, Returned(A, "ejection_ended"), UP)
        .at(31.0, time_passes, Probation(B, 1))
        .at(32.0, fails("a"))
        .at(33.0, fails("b"), ejected("b", 93.0, "probation_failed", k=2))
    )


def test_a_probation_fails_in_vain_while_the_others_are_out() -> None:
    """Somebody has to serve; which of them, was decided by who came back first."""
    half = replace(CAREFUL, max_ejection_percent=50.0)
    (
        Script(service_of("ab", half, ACTIVE))
        .at(0.0, fails("a"), ejected("a", 30.0))
        .at(30.0, time_passes, Probation(A, 1))
        .at(
            31.0,
            probe("b", "timeout", passed=False),
            ProbeChanged(B, False, "timeout"),
            ServiceUnavailable(SERVICE, "probation, probe_failed"),
        )
        .at(32.0, fails("a"), Returned(A, "ejection_ended"), UP)
    )


def test_a_failed_probation_tells_only_of_itself() -> None:
    """What was counted before the ejection was told with that."""
    (
        Script(service_of("a", replace(CAREFUL, window=600.0)))
        .at(0.0, succeeds("a", 3))
        .at(0.0, fails("a"), ejected("a", 30.0, requests=4, percentage=25.0), DOWN)
        .at(30.0, time_passes, Probation(A, 1))
        .at(31.0, fails("a"), ejected("a", 91.0, "probation_failed", k=2))
    )


def test_a_policy_that_asks_for_less_probation_ends_no_ejection() -> None:
    """Successes of a probation that failed in the end count for nothing."""
    script = (
        Script(service_of("a", replace(CAREFUL, probation_requests=3)))
        .at(0.0, fails("a"), ejected("a", 30.0), DOWN)
        .at(30.0, time_passes, Probation(A, 3))
        .at(31.0, succeeds("a"))
        .at(32.0, fails("a"), ejected("a", 92.0, "probation_failed", k=2, requests=2, percentage=50.0))
        .at(33.0, passive_is(probation_requests=1))
    )
    assert script.states() == {"a": "ejected"}


# Retry-After.


def test_retry_after_cools_the_endpoint_until_then() -> None:
    """k is untouched: the service asked politely."""
    script = (
        Script(service_of("a", ONE_FAILURE))
        .at(0.0, is_refused("a", 7.0), cooled("a", 7.0), ServiceUnavailable(SERVICE, "cooling"))
        .at(7.0, time_passes, Returned(A, "retry_after_ended"), UP)
    )
    assert script.status("a").ejection_multiplier == 0
    assert script.status("a").requests == 0


def test_a_503_with_retry_after_cools_and_counts() -> None:
    """It is a wish and a failure; the longer of both holds."""
    script = Script(service_of("a", ONE_FAILURE)).at(
        0.0,
        fails("a", retry_after=60.0),
        ejected("a", 30.0),
        ejected("a", 60.0, "retry_after"),
        DOWN,
    )
    script.at(30.0, time_passes, Returned(A, "ejection_ended"))
    assert script.status("a").state == "cooling"
    script.at(60.0, time_passes, Returned(A, "retry_after_ended"), UP)


def test_retry_after_is_capped_at_the_longest_ejection() -> None:
    """A quota that ends tomorrow is no reason to be blind for a day."""
    Script(service_of("ab", replace(PLAIN, max_ejection_time=120.0))).at(
        0.0, is_refused("a", 86400.0), cooled("a", 120.0)
    )


def test_a_burst_of_refusals_is_one_event_but_a_later_end_is_another() -> None:
    """Fifty requests in flight may all be told the same."""
    (
        Script(service_of("ab"))
        .at(0.0, starts("a", "one"))
        .at(0.0, starts("a", "two"))
        .at(1.0, is_refused("a", 5.0), cooled("a", 6.0))
        .at(1.5, ends("one", Verdict.IGNORABLE, retry_after=5.0))
        .at(2.0, ends("two", Verdict.IGNORABLE, retry_after=30.0), cooled("a", 32.0))
        .at(6.0, time_passes)
        .at(32.0, time_passes, Returned(A, "retry_after_ended"))
    )


def test_a_retry_after_of_nothing_cools_nothing() -> None:
    """`Retry-After: 0` says: at once."""
    script = Script(service_of("a")).at(0.0, is_refused("a", 0.0))
    assert script.states() == {"a": "available"}


# Active health.


def test_an_endpoint_is_used_only_if_probes_agree() -> None:
    """Traffic alone may be too thin to notice."""
    script = Script(service_of("ab", PLAIN, ActiveHealth(unhealthy_threshold=2, healthy_threshold=2)))
    script.at(0.0, probe("a", "timeout", passed=False))
    script.at(5.0, probe("a", "timeout", passed=False), ProbeChanged(A, False, "timeout"))
    assert script.states() == {"a": "probe_failed", "b": "available"}
    assert script.status("a").reason == "timeout"
    script.at(10.0, probe("a", "status 200", passed=True))
    assert not script.available("a")
    script.at(15.0, probe("a", "status 200", passed=True), ProbeChanged(A, True, "status 200"))
    assert script.available("a")


def test_a_passing_probe_does_not_shorten_an_ejection() -> None:
    """A health page may well be served by a machine whose model hangs."""
    script = (
        Script(service_of("ab", ONE_FAILURE, ACTIVE))
        .at(0.0, fails("a"), ejected("a", 30.0))
        .at(1.0, probe("a", "timeout", passed=False), ProbeChanged(A, False, "timeout"))
        .at(2.0, probe("a", "status 200", passed=True), ProbeChanged(A, True, "status 200"))
    )
    assert script.states()["a"] == "ejected"
    script.at(30.0, time_passes, Returned(A, "ejection_ended"))


def test_an_ejection_that_ends_while_probes_fail_leaves_the_endpoint_out() -> None:
    """Both have to call it healthy."""
    script = (
        Script(service_of("ab", CAREFUL, ACTIVE))
        .at(0.0, fails("a"), ejected("a", 30.0))
        .at(1.0, probe("a", "timeout", passed=False), ProbeChanged(A, False, "timeout"))
        .at(30.0, time_passes, Probation(A, 1))
    )
    assert script.states()["a"] == "probe_failed"
    assert not script.available("a")
    script.at(50.0, probe("a", "status 200", passed=True), ProbeChanged(A, True, "status 200"))
    assert script.states()["a"] == "probation"


def test_after_failed_probes_an_endpoint_ramps_up() -> None:
    """A server that has just been started again is as cold as one that was ejected."""
    script = (
        Script(service_of("ab", replace(ONE_FAILURE, ramp=10.0), ACTIVE))
        .at(0.0, probe("a", "timeout", passed=False), ProbeChanged(A, False, "timeout"))
        .at(60.0, probe("a", "status 200", passed=True), ProbeChanged(A, True, "status 200"))
    )
    assert script.states()["a"] == "ramp"
    assert script.status("a").reason == "probe_passed"
    assert script.status("a").until == 70.0


def test_k_does_not_fall_while_probes_fail() -> None:
    """That is no good health."""
    script = (
        Script(service_of("ab", ONE_FAILURE, ACTIVE))
        .at(0.0, fails("a"), ejected("a", 30.0))
        .at(30.0, time_passes, Returned(A, "ejection_ended"))
        .at(30.5, probe("a", "timeout", passed=False), ProbeChanged(A, False, "timeout"))
        .at(90.0, probe("a", "status 200", passed=True), ProbeChanged(A, True, "status 200"))
    )
    assert script.status("a").ejection_multiplier == 1


def test_k_does_not_fall_after_an_ejection_that_ends_while_probes_fail() -> None:
    """Good health begins when both agree."""
    script = (
        Script(service_of("ab", ONE_FAILURE, ACTIVE))
        .at(0.0, fails("a"), ejected("a", 30.0))
        .at(1.0, probe("a", "timeout", passed=False), ProbeChanged(A, False, "timeout"))
        .at(30.0, time_passes, Returned(A, "ejection_ended"))
        .at(90.0, probe("a", "status 200", passed=True), ProbeChanged(A, True, "status 200"))
    )
    assert script.status("a").ejection_multiplier == 1
    assert script.ledger.statuses(91.0)[0].ejection_multiplier == 0


def test_a_probe_that_a_policy_or_a_list_overtook_says_nothing() -> None:
    """It was on its way when the endpoint or its active checks went."""
    script = Script(service_of("a", PLAIN, ACTIVE)).at(0.0, policy_is(service_of("a")))
    script.at(1.0, probe("a", "timeout", passed=False)).at(1.0, probe("z", "timeout", passed=False))
    assert script.states() == {"a": "available"}


# An operator's hand.


def test_an_operator_ejects_until_restored() -> None:
    """Neither limits nor time have a say."""
    script = Script(service_of("a", replace(PLAIN, max_ejection_percent=0.0)))
    script.at(0.0, is_ejected("a", None), manual("a", None), DOWN)
    assert script.ledger.next_deadline() is None
    script.at(1e6, is_restored("a"), Returned(A, "manual"), UP)


def test_a_timed_ejection_by_hand_ends_through_probation() -> None:
    """Whatever was done to it meanwhile, one request finds out first."""
    (
        Script(service_of("a", CAREFUL))
        .at(0.0, is_ejected("a", 60.0), manual("a", 60.0), DOWN)
        .at(60.0, time_passes, Probation(A, 1))
        .at(61.0, succeeds("a"), Returned(A, "probation_passed"), UP)
    )


def test_an_ejection_by_hand_replaces_the_present_one() -> None:
    """The operator knows better."""
    (
        Script(service_of("ab", ONE_FAILURE))
        .at(0.0, fails("a"), ejected("a", 30.0))
        .at(1.0, is_ejected("a", 3.0), ejected("a", 4.0, "manual"))
        .at(4.0, time_passes, Returned(A, "ejection_ended"))
    )


def test_a_restore_puts_the_endpoint_back_as_if_it_were_new() -> None:
    """Ejection, cooling, failed probes and k: all forgotten, and no ramp."""
    script = (
        Script(service_of("a", replace(CAREFUL, ramp=10.0), ACTIVE))
        .at(0.0, fails("a", retry_after=60.0), ejected("a", 30.0), ejected("a", 60.0, "retry_after"), DOWN)
        .at(1.0, probe("a", "timeout", passed=False), ProbeChanged(A, False, "timeout"))
        .at(2.0, is_restored("a"), ProbeChanged(A, True, "manual"), Returned(A, "manual"), UP)
    )
    assert script.states() == {"a": "available"}
    assert script.status("a").ejection_multiplier == 0
    assert script.ledger.next_deadline() is None


def test_a_restore_of_an_endpoint_in_rotation_is_no_event() -> None:
    """Nothing changed that anybody could see."""
    Script(service_of("a")).at(0.0, is_restored("a"))


def test_an_operator_who_names_an_unknown_endpoint_is_told() -> None:
    """A typing error must not look like success."""
    script = Script(service_of("a"))
    with pytest.raises(KeyError):
        script.ledger.eject(key("z"), None, 0.0)
    with pytest.raises(KeyError):
        script.ledger.restore(key("a", "other"), 0.0)


# enforce: false


def test_without_enforcement_events_tell_and_nothing_leaves() -> None:
    """What it would do is told once for the time it would last; k counts on."""
    script = Script(service_of("a", replace(CAREFUL, enforce=False)))
    script.at(0.0, fails("a"), ejected("a", 30.0, enforced=False)).at(1.0, fails("a", 10))
    assert script.available("a")
    assert script.states() == {"a": "available"}
    script.at(30.0, time_passes).at(30.5, fails("a"), ejected("a", 90.5, k=2, enforced=False))
    script.at(31.0, is_refused("a", 5.0), ejected("a", 36.0, "retry_after", k=2, enforced=False))
    assert script.available("a")
    script.at(36.0, time_passes)


def test_switching_enforcement_off_brings_back_what_passive_health_ejected() -> None:
    """That is what it is switched off for; an operator's ejection stays."""
    script = (
        Script(service_of("abcd", CAREFUL))
        .at(0.0, fails("c"), ejected("c", 30.0))
        .at(30.0, time_passes, Probation(C, 1))
        .at(31.0, fails("a"), ejected("a", 61.0))
        .at(31.0, is_ejected("b", None), manual("b", None))
        .at(
            31.0,
            is_refused("d", 9.0),
            cooled("d", 40.0),
            ServiceUnavailable(SERVICE, "cooling, ejected, probation"),
        )
        .at(
            32.0,
            passive_is(enforce=False),
            Returned(A, "ejection_ended"),
            Returned(C, "ejection_ended"),
            Returned(key("d"), "retry_after_ended"),
            UP,
        )
    )
    assert script.states() == {"a": "available", "b": "ejected", "c": "available", "d": "available"}


def test_switching_enforcement_on_judges_from_now_on() -> None:
    """An ejection that was only told must not shield the endpoint from a real one."""
    (
        Script(service_of("a", replace(ONE_FAILURE, enforce=False)))
        .at(0.0, fails("a"), ejected("a", 30.0, enforced=False))
        .at(0.0, passive_is(enforce=True))
        .at(0.5, fails("a"), ejected("a", 60.5, k=2), DOWN)
    )


# Lists of endpoints and policies.


def test_who_stays_on_the_list_keeps_its_state() -> None:
    """DNS answers come every few seconds; they must not pardon anybody."""
    script = (
        Script(service_of("", ONE_FAILURE))
        .at(0.0, list_is("ab"), EndpointAdded(A), EndpointAdded(B))
        .at(1.0, fails("a"), ejected("a", 31.0))
        .at(2.0, list_is("ca"), EndpointRemoved(B), EndpointAdded(C))
    )
    assert script.states() == {"c": "available", "a": "ejected"}


def test_a_removed_endpoint_ends_its_attempts_in_silence() -> None:
    """They are still in flight, but there is nobody left to judge."""
    script = (
        Script(service_of("", ONE_FAILURE))
        .at(0.0, list_is("ab"), EndpointAdded(A), EndpointAdded(B))
        .at(1.0, starts("b", "one"))
        .at(2.0, list_is("a"), EndpointRemoved(B))
        .at(3.0, ends("one", Verdict.FAILURE, retry_after=60.0))
    )
    assert script.ledger.next_deadline() is None


def test_a_list_without_endpoints_makes_the_service_unavailable() -> None:
    """But a list that has not come yet says nothing."""
    (
        Script(service_of(""))
        .at(0.0, policy_is(service_of("")))
        .at(1.0, list_is("a"), EndpointAdded(A))
        .at(2.0, list_is(""), EndpointRemoved(A), ServiceUnavailable(SERVICE, "no_endpoint"))
        .at(3.0, list_is("a"), EndpointAdded(A), UP)
    )


def test_an_address_given_twice_is_one_endpoint() -> None:
    """Some resolvers repeat themselves."""
    Script(service_of("")).at(0.0, list_is("aab"), EndpointAdded(A), EndpointAdded(B))


def test_a_list_for_a_service_that_is_gone_says_nothing() -> None:
    """The answer was on its way when the policy changed."""
    script = Script(service_of("")).at(0.0, policy_is(None)).at(1.0, list_is("a"))
    assert script.ledger.statuses(1.0) == []


def test_a_policy_change_keeps_the_state_and_end_of_an_ejection() -> None:
    """The end was fixed when it began."""
    script = (
        Script(service_of("ab", ONE_FAILURE))
        .at(0.0, fails("a"), ejected("a", 30.0))
        .at(1.0, passive_is(max_ejection_time=5.0, base_ejection_time=1.0))
    )
    assert script.status("a").until == 30.0
    script.at(30.0, time_passes, Returned(A, "ejection_ended"))
    script.at(30.0, fails("a"), ejected("a", 32.0, k=2))


def test_a_policy_without_a_service_removes_its_endpoints() -> None:
    """Nobody will ask for them again."""
    script = Script(service_of("ab")).at(1.0, policy_is(None), EndpointRemoved(A), EndpointRemoved(B))
    assert script.ledger.endpoints(SERVICE) == ()
    assert not script.ledger.service_available(SERVICE, 1.0)


def test_a_policy_that_drops_active_checks_forgets_their_verdict() -> None:
    """No probe would ever bring the endpoint back."""
    script = Script(service_of("ab", PLAIN, ACTIVE))
    script.at(0.0, probe("a", "timeout", passed=False), ProbeChanged(A, False, "timeout"))
    script.at(1.0, policy_is(service_of("ab")), ProbeChanged(A, True, "active_health_off"))
    assert script.states() == {"a": "available", "b": "available"}


def test_addresses_of_another_host_are_dropped_at_once() -> None:
    """A credential for the new host must not be sent to the old one while its name is being resolved."""
    moved = replace(URL, host="vendor.test", authority="vendor.test")
    (
        Script(service_of(""))
        .at(0.0, list_is("a"), EndpointAdded(A))
        .at(1.0, policy_is(service_of("", ONE_FAILURE)))
        .at(
            2.0,
            policy_is(service_of("", url=moved)),
            EndpointRemoved(A),
            ServiceUnavailable(SERVICE, "no_endpoint"),
        )
        .at(3.0, list_is("b"), EndpointAdded(B), UP)
    )


def test_written_endpoints_are_listed_with_the_policy_that_names_them() -> None:
    """They need no resolver."""
    ledger = Ledger(Random(1))
    events: list[HealthEvent] = ledger.configure({SERVICE: service_of("ab")}, 0.0)
    assert events == [EndpointAdded(A), EndpointAdded(B)]
    assert ledger.configure({SERVICE: service_of("bc")}, 1.0) == [EndpointRemoved(A), EndpointAdded(C)]
    assert [endpoint.key for endpoint in ledger.endpoints(SERVICE)] == [B, C]


# Deadlines.


def test_nothing_happens_before_the_deadline() -> None:
    """An early timer must not end anything."""
    script = Script(service_of("a", ONE_FAILURE)).at(0.0, fails("a"), ejected("a", 30.0), DOWN)
    assert script.ledger.next_deadline() == 30.0
    script.at(29.999, time_passes).at(30.0, time_passes, Returned(A, "ejection_ended"), UP)
    assert script.ledger.next_deadline() is None


def test_what_is_overdue_is_told_in_the_order_it_was_due() -> None:
    """A loop that was blocked catches up without changing history."""
    (
        Script(service_of("ab", ONE_FAILURE))
        .at(0.0, fails("b"), ejected("b", 30.0))
        .at(1.0, is_ejected("a", 5.0), manual("a", 6.0), DOWN)
        .at(99.0, time_passes, Returned(A, "ejection_ended"), UP, Returned(B, "ejection_ended"))
    )
