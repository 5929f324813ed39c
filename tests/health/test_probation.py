"""Probation by streams: an answer may take minutes, and nobody should have to wait for its end to know."""

from __future__ import annotations

from sidecar.failure import Verdict
from sidecar.frozen import replace
from sidecar.health.events import Ejected, Probation, Returned, ServiceRecovered, ServiceUnavailable
from sidecar.policy.snapshot import PassiveHealth
from tests.health.script import (
    PLAIN,
    SERVICE,
    Script,
    begins_to_answer,
    ends,
    fails,
    is_late,
    key,
    service_of,
    starts,
    succeeds,
    time_passes,
)

A = key("a")
DOWN = ServiceUnavailable(SERVICE, "ejected")
UP = ServiceRecovered(SERVICE)
CAREFUL = replace(PLAIN, consecutive_failures=1, probation_requests=1)


def ejected(until: float, reason: str = "consecutive_failures", k: int = 1) -> Ejected:
    return Ejected(A, reason, 100.0, 1, k, until, True)


def on_probation(passive: PassiveHealth = CAREFUL) -> Script:
    """From 30.0 on."""
    return (
        Script(service_of("a", passive))
        .at(0.0, fails("a"), ejected(30.0), DOWN)
        .at(30.0, time_passes, Probation(A, passive.probation_requests))
    )


def test_an_answer_that_begins_in_time_passes_the_probation() -> None:
    """What the endpoint had to prove is proved; the rest of the answer may take ten minutes."""
    script = on_probation().at(31.0, starts("a", "one"))
    assert not script.available("a")
    script.at(31.2, begins_to_answer("one"), Returned(A, "probation_passed"), UP)
    assert script.available("a")
    script.at(600.0, ends("one", Verdict.SUCCESS))


def test_an_answer_that_breaks_after_it_passed_the_probation_is_a_failure_like_any_other() -> None:
    """A server that begins every answer and ends none must not be taken for a good one."""
    (
        on_probation()
        .at(31.0, starts("a", "one"))
        .at(31.2, begins_to_answer("one"), Returned(A, "probation_passed"), UP)
        .at(31.5, ends("one", Verdict.FAILURE), ejected(91.5, k=2), DOWN)
    )


def test_a_late_attempt_on_probation_gives_its_place_back_though_it_goes_on() -> None:
    """As the last candidate it may hang until `total`; others must be able to find out meanwhile."""
    script = on_probation().at(31.0, starts("a", "hangs"))
    assert not script.available("a")
    script.at(31.2, is_late("hangs"))
    assert script.available("a")
    script.at(32.0, starts("a", "two"))
    script.at(32.1, begins_to_answer("two"), Returned(A, "probation_passed"), UP)
    script.at(631.0, ends("hangs", Verdict.IGNORABLE))


def test_a_late_attempt_that_fails_in_the_end_fails_the_probation() -> None:
    """Where lateness is a failure, and it is given up, it is heard at once."""
    (
        on_probation()
        .at(31.0, starts("a", "one"))
        .at(31.2, is_late("one"))
        .at(31.2, ends("one", Verdict.FAILURE), ejected(91.2, "probation_failed", k=2))
    )


def test_an_attempt_passes_a_probation_once() -> None:
    """Not with its first packet and again with its end."""
    script = (
        on_probation(replace(CAREFUL, probation_requests=2))
        .at(31.0, starts("a", "one"))
        .at(31.2, begins_to_answer("one"))
        .at(32.0, ends("one", Verdict.SUCCESS))
    )
    assert script.status("a").state == "probation"
    assert script.available("a")
    script.at(33.0, succeeds("a"), Returned(A, "probation_passed"), UP)


def test_an_attempt_that_was_heard_keeps_no_place_and_gives_none_back_twice() -> None:
    """In flight and passed together there are never more than were asked for."""
    script = (
        on_probation(replace(CAREFUL, probation_requests=2))
        .at(31.0, starts("a", "one"))
        .at(31.1, starts("a", "two"))
        .at(31.2, is_late("one"))
        .at(31.3, starts("a", "three"))
    )
    assert not script.available("a")
    script.at(31.4, ends("one", Verdict.IGNORABLE))
    assert not script.available("a")


def test_a_first_packet_of_an_attempt_from_before_the_probation_passes_nothing() -> None:
    """It was sent while the endpoint was out, or before, and says nothing about now."""
    script = (
        Script(service_of("a", CAREFUL))
        .at(0.0, starts("a", "old"))
        .at(1.0, fails("a"), ejected(31.0), DOWN)
        .at(31.0, time_passes, Probation(A, 1))
        .at(32.0, begins_to_answer("old"))
    )
    assert script.status("a").state == "probation"
