"""The plan of a request, as scripts: retries inside a service, fallbacks, what late means, how it ends."""

from __future__ import annotations

from math import inf

import pytest

from sidecar.attempt.plan import State
from tests.attempt.script import (
    Event,
    Script,
    begin,
    changed,
    committed,
    failed,
    late,
    out_of_time,
    woke,
)

# Inside a service


def test_a_refused_connection_is_tried_once_more_after_a_short_wait() -> None:
    """A server that restarts refuses for a moment; two clients that were refused must not return together."""
    (
        Script(own="a", vendor="v")
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed("connect_failure")).expect("wait until 0.13")
        .at(0.13, woke).expect("try 2 own/a for connect_failure")
        .at(0.2, failed("connect_failure")).expect("try 3 vendor/v for connect_failure after own")
        .at(0.5, committed).expect()
        .over()
    )  # fmt: skip


def test_another_endpoint_of_the_service_takes_over_without_a_wait() -> None:
    """There is nothing to wait for: that endpoint has done no harm yet."""
    (
        Script(own="ab")
        .at(0.0, changed("own/b", in_flight=1)).expect()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed("reset")).expect("try 2 own/b for reset")
        .at(0.2, failed("reset")).expect("answer reset")
        .over()
    )  # fmt: skip


def test_an_endpoint_that_cannot_be_dialled_in_time_is_not_dialled_again() -> None:
    """Unlike one that refuses at once it costs the request the whole of `timeouts.connect` each time."""
    (
        Script(own="ab", vendor="v").under(retries_per_service=9)
        .at(0.0, changed("own/b", in_flight=1)).expect()
        .at(0.0, begin).expect("try 1 own/a")
        .at(5.0, failed("connect_failure", silent=True)).expect("try 2 own/b for connect_failure")
        .at(10.0, failed("connect_failure", silent=True)).expect("try 3 vendor/v for connect_failure after own")
        .at(15.0, failed("connect_failure", silent=True)).expect("answer connect_failure")
        .over()
    )  # fmt: skip


def test_the_wait_grows_with_each_retry_up_to_its_cap() -> None:
    """Half-way between 10 ms and 50, 100, 200, 400, 500, 500 ms."""
    script = Script(own="a").under(max_attempts=9, retries_per_service=9).at(0.0, begin).expect("try 1 own/a")
    for retry, wait in enumerate(("0.03", "0.055", "0.105", "0.205", "0.255", "0.255"), 2):
        script.at(0.0, failed("500")).expect(f"wait until {wait}")
        script.at(0.0, woke).expect(f"try {retry} own/a for 500")
    script.over()


def test_the_endpoint_that_failed_earlier_may_serve_again_when_all_were_tried() -> None:
    """Refused connections are no reason to leave a service while retries are left."""
    (
        Script(own="ab").under(retries_per_service=2)
        .at(0.0, changed("own/b", in_flight=1)).expect()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed("reset")).expect("try 2 own/b for reset")
        .at(0.2, failed("reset")).expect("wait until 0.255")
        .at(0.255, woke).expect("try 3 own/a for reset")
        .over()
    )  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["bad_response", "in_stream_error", "empty_stream", "response_timeout", "auth"]
)
def test_what_a_second_sending_cannot_mend_goes_straight_to_the_next_service(kind: str) -> None:
    """The service has worked on the request, or will refuse it again."""
    (
        Script(own="ab", vendor="v")
        .at(0.0, changed("own/b", in_flight=1)).expect()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed(kind)).expect(f"try 2 vendor/v for {kind} after own")
        .over()
    )  # fmt: skip


def test_a_5xx_with_retry_after_is_not_tried_in_the_same_service() -> None:
    """It has said when it wants to be asked again."""
    (
        Script(own="a", vendor="v")
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed("503", retry_after=2)).expect("try 2 vendor/v for 503 after own")
        .over()
    )  # fmt: skip


def test_an_endpoint_that_its_own_failure_ejected_is_not_tried_again() -> None:
    """Health hears of a failure first; what it took out of rotation is no candidate."""
    (
        Script(own="a", vendor="v")
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, changed("own/a", until=30)).expect()
        .at(0.1, failed("connect_failure")).expect("try 2 vendor/v for connect_failure after own")
        .over()
    )  # fmt: skip


def test_an_endpoint_ejected_during_the_wait_loses_its_retry() -> None:
    """Other requests go on failing meanwhile."""
    (
        Script(own="a", vendor="v")
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed("500")).expect("wait until 0.13")
        .at(0.11, changed("own/a", until=30)).expect()
        .at(0.13, woke).expect("try 2 vendor/v for 500 after own")
        .over()
    )  # fmt: skip


def test_a_spent_budget_forbids_retries_but_no_fallback() -> None:
    """A surge must be rescued whole, while retries may not double it."""
    (
        Script(own="ab", vendor="v").with_retries_spent(3)
        .at(0.0, changed("own/b", in_flight=1)).expect()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed("connect_failure")).expect("try 2 vendor/v for connect_failure after own")
        .over()
    )  # fmt: skip


def test_a_retry_gives_its_budget_back_when_it_commits() -> None:
    """A stream of minutes is not a retry any more; three of them must not forbid all others."""
    script = (
        Script(own="a")
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed("500")).expect("wait until 0.13")
        .at(0.13, woke).expect("try 2 own/a for 500")
    )  # fmt: skip
    assert script.budget.retries == 1
    script.at(0.2, committed).expect()
    assert script.budget.retries == 0
    script.over()


def test_a_retry_gives_its_budget_back_when_the_service_is_left() -> None:
    """The fallback is no retry."""
    script = (
        Script(own="a", vendor="v")
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed("500")).expect("wait until 0.13")
        .at(0.13, woke).expect("try 2 own/a for 500")
        .at(0.2, failed("500")).expect("try 3 vendor/v for 500 after own")
    )  # fmt: skip
    assert script.budget.retries == 0
    script.over()


def test_each_service_has_its_own_retries() -> None:
    """A fallback that restarts deserves the same patience."""
    (
        Script(own="a", vendor="v")
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.0, failed("500")).expect("wait until 0.03")
        .at(0.03, woke).expect("try 2 own/a for 500")
        .at(0.1, failed("500")).expect("try 3 vendor/v for 500 after own")
        .at(0.2, failed("502")).expect("wait until 0.23")
        .at(0.23, woke).expect("try 4 vendor/v for 502")
        .at(0.3, failed("502")).expect("answer 502")
        .over()
    )  # fmt: skip


def test_retries_need_no_word_in_fallback_on() -> None:
    """They have their own switch, retries_per_service."""
    (
        Script(own="a", vendor="v").under(fallback_on="429")
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed("reset")).expect("wait until 0.13")
        .at(0.13, woke).expect("try 2 own/a for reset")
        .at(0.2, failed("reset")).expect("answer reset")
        .over()
    )  # fmt: skip


# A late first packet


def test_a_late_endpoint_is_dropped_for_another_of_its_service_and_then_for_the_next_service() -> None:
    """No byte has reached the app yet, so moving on is safe."""
    (
        Script(own="ab", vendor="v")
        .at(0.0, changed("own/b", in_flight=1)).expect()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.2, late).expect("try 2 own/b for first_packet_timeout")
        .at(0.4, late).expect("try 3 vendor/v for first_packet_timeout after own")
        .over()
    )  # fmt: skip


def test_the_last_candidate_is_not_cut_when_late() -> None:
    """A slow answer is better than none."""
    (
        Script(own="a", vendor="v")
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.2, late).expect("try 2 vendor/v for first_packet_timeout after own")
        .at(0.4, late).expect()
        .at(9.0, committed).expect()
        .over()
    )  # fmt: skip


def test_cut_last_cuts_the_last_candidate_too() -> None:
    """An app that would rather have an error soon says so in its route."""
    (
        Script(own="a").under(cut_last=True)
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.2, late).expect("answer first_packet_timeout")
        .over()
    )  # fmt: skip


def test_a_late_endpoint_that_was_waited_for_is_not_tried_again_when_it_fails() -> None:
    """Its second attempt would be late too, and the app has waited long enough."""
    (
        Script(own="a")
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.2, late).expect()
        .at(0.9, failed("reset")).expect("answer reset")
        .over()
    )  # fmt: skip


def test_a_late_endpoint_may_be_left_later_when_somebody_has_come_back() -> None:
    """The exchange may ask again."""
    (
        Script(own="a", vendor="v")
        .at(0.0, changed("vendor/v", until=5)).expect()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.2, late).expect()
        .at(5.0, late).expect("try 2 vendor/v for first_packet_timeout after own")
        .over()
    )  # fmt: skip


def test_an_ejected_endpoint_is_no_better_than_a_late_one() -> None:
    """The late one is still likelier to answer, wherever `unhealthy` stands or does not."""
    (
        Script(own="a", vendor="v").under(fallback_on="first_packet_timeout")
        .at(0.0, changed("vendor/v", until=30)).expect()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.2, late).expect()
        .over()
    )  # fmt: skip


def test_lateness_is_waited_out_where_it_may_not_fall_back() -> None:
    """`first_packet_timeout` is not in fallback_on: not even another endpoint may take over."""
    (
        Script(own="ab", vendor="v").under(fallback_on="5xx")
        .at(0.0, changed("own/b", in_flight=1)).expect()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.2, late).expect()
        .over()
    )  # fmt: skip


def test_a_reported_first_packet_timeout_moves_on_like_lateness_but_always_ends() -> None:
    """The exchange has cut the attempt itself, so carrying on is not possible."""
    (
        Script(own="ab")
        .at(0.0, changed("own/b", in_flight=1)).expect()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.2, failed("first_packet_timeout")).expect("try 2 own/b for first_packet_timeout")
        .at(0.4, failed("first_packet_timeout")).expect("answer first_packet_timeout")
        .over()
    )  # fmt: skip


# On to other services


@pytest.mark.parametrize("code", ["429", "401", "400", "404"])
def test_a_status_listed_by_its_number_falls_back(code: str) -> None:
    """Any status may stand in fallback_on."""
    (
        Script(own="a", vendor="v").under(fallback_on=code)
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed(code)).expect(f"try 2 vendor/v for {code} after own")
        .over()
    )  # fmt: skip


def test_a_failure_without_its_word_is_the_answer() -> None:
    """The route names what may fall back; the rest the app wants to see."""
    (
        Script(own="a", vendor="v").under(fallback_on="5xx")
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed("in_stream_error")).expect("answer in_stream_error")
        .over()
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["app_went_away", "draining", "deadline_exceeded"])
def test_what_is_nobodys_fault_ends_the_request(kind: str) -> None:
    """No other service could change it. (There is no deadline here whose share could be meant.)"""
    (
        Script(own="a", vendor="v")
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed(kind)).expect(f"answer {kind}")
        .over()
    )  # fmt: skip


def test_max_attempts_ends_it_whatever_is_left() -> None:
    """A request costs at most so many attempts, retries and fallbacks alike."""
    (
        Script(own="a", vendor="v", other="o").under(max_attempts=2)
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.2, late).expect("try 2 vendor/v for first_packet_timeout after own")
        .at(0.4, late).expect()
        .at(0.5, failed("500")).expect("answer 500")
        .over()
    )  # fmt: skip


def test_an_ejected_primary_is_passed_over() -> None:
    """The reason is told, for nobody would see it otherwise: no attempt failed."""
    (
        Script(own="a", vendor="v")
        .at(0.0, changed("own/a", until=30)).expect()
        .at(0.0, begin).expect("try 1 vendor/v for unhealthy after own")
        .over()
    )  # fmt: skip


def test_a_full_primary_is_passed_over_without_waiting() -> None:
    """Requests over max_concurrency go to the fallback at once."""
    (
        Script(own="ab", vendor="v").limited(own=2)
        .at(0.0, changed("own/a", in_flight=2)).expect()
        .at(0.0, begin).expect("try 1 vendor/v for overloaded after own")
        .over()
    )  # fmt: skip


def test_a_primary_at_its_adaptive_limit_is_passed_over_without_waiting() -> None:
    """What it cannot answer in time another service can."""
    (
        Script(own="a", vendor="v")
        .at(0.0, changed("own/a", limited=True)).expect()
        .at(0.0, begin).expect("try 1 vendor/v for overloaded after own")
        .over()
    )  # fmt: skip


def test_an_adaptive_limit_gives_way_when_there_is_nowhere_else_to_go() -> None:
    """A late answer is better than none. Whoever wants requests to be refused writes max_concurrency."""
    (
        Script(own="a", vendor="v")
        .at(0.0, changed("own/a", limited=True)).expect()
        .at(0.0, changed("vendor/v", until=30)).expect()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.2, late).expect()  # and nobody is better still
        .over()
    )  # fmt: skip


def test_a_fallback_at_its_adaptive_limit_takes_a_request_that_would_be_lost() -> None:
    """The one before it has failed already."""
    (
        Script(own="a", vendor="v")
        .at(0.0, changed("vendor/v", limited=True)).expect()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed("bad_response")).expect("try 2 vendor/v for bad_response after own")
        .over()
    )  # fmt: skip


def test_a_late_primary_is_kept_to_while_the_fallback_is_at_its_adaptive_limit() -> None:
    """It may still answer first; a second request would only make the fallback late as well."""
    (
        Script(own="a", vendor="v")
        .at(0.0, changed("vendor/v", limited=True)).expect()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.2, late).expect()
        .over()
    )  # fmt: skip


def test_a_service_without_an_address_is_passed_over() -> None:
    """Its name resolves to nothing at the moment."""
    Script(own="", vendor="v").at(0.0, begin).expect("try 1 vendor/v for no_endpoint after own").over()


def test_a_middle_service_is_passed_over_and_the_one_that_failed_is_named() -> None:
    """The fallback is from where the request was, for the reason it left."""
    (
        Script(own="a", middle="m", vendor="v")
        .at(0.0, changed("middle/m", until=30)).expect()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed("bad_response")).expect("try 2 vendor/v for bad_response after own")
        .over()
    )  # fmt: skip


def test_without_the_word_unhealthy_an_ejected_service_is_used_all_the_same() -> None:
    """Its endpoint that is due back first."""
    (
        Script(own="ab", vendor="v").under(fallback_on="5xx")
        .at(0.0, changed("own/a", until=30)).expect()
        .at(0.0, changed("own/b", until=20)).expect()
        .at(0.0, begin).expect("try 1 own/b")
        .over()
    )  # fmt: skip


def test_without_the_word_overloaded_a_full_service_is_the_answer() -> None:
    """Nothing lifts max_concurrency."""
    (
        Script(own="a", vendor="v").under(fallback_on="5xx").limited(own=1)
        .at(0.0, changed("own/a", in_flight=1)).expect()
        .at(0.0, begin).expect("answer overloaded")
        .over()
    )  # fmt: skip


def test_a_full_fallback_leaves_the_failure_before_it_as_the_answer() -> None:
    """The app learns what went wrong with its request, not who else was busy."""
    (
        Script(own="a", vendor="v").under(fallback_on="bad_response").limited(vendor=1)
        .at(0.0, changed("vendor/v", in_flight=1)).expect()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed("bad_response")).expect("answer bad_response")
        .over()
    )  # fmt: skip


# Nobody is left


def test_when_every_endpoint_is_out_the_one_due_back_first_is_tried() -> None:
    """Ejection never leaves a route with nothing to try."""
    (
        Script(own="a", vendor="vw")
        .at(0.0, changed("own/a", until=30)).expect()
        .at(0.0, changed("vendor/v", until=20)).expect()
        .at(0.0, changed("vendor/w", until=10)).expect()
        .at(0.0, begin).expect("try 1 vendor/w for unhealthy after own")
        .over()
    )  # fmt: skip


def test_even_an_endpoint_without_a_return_is_a_last_resort() -> None:
    """Failed probes may be the probe's fault."""
    (
        Script(own="a")
        .at(0.0, changed("own/a", until=inf)).expect()
        .at(0.0, begin).expect("try 1 own/a")
        .over()
    )  # fmt: skip


def test_an_ejected_fallback_is_spared_when_the_primary_fails() -> None:
    """The request had its try; nothing goes to an ejected endpoint while another is in rotation."""
    (
        Script(own="a", vendor="v")
        .at(0.0, changed("vendor/v", until=30)).expect()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed("bad_response")).expect("answer bad_response")
        .over()
    )  # fmt: skip


def test_a_returning_fallback_takes_what_would_be_lost() -> None:
    """Its share is spent for the moment, but it is not ejected."""
    (
        Script(own="a", vendor="v")
        .at(0.0, changed("vendor/v", thinned=True)).expect()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.2, late).expect()
        .at(0.3, failed("bad_response")).expect("try 2 vendor/v for bad_response after own")
        .over()
    )  # fmt: skip


def test_when_every_service_is_full_the_app_hears_overloaded() -> None:
    """503 with Retry-After is what an SDK understands."""
    (
        Script(own="a", vendor="v").limited(own=1, vendor=1)
        .at(0.0, changed("own/a", in_flight=1)).expect()
        .at(0.0, changed("vendor/v", in_flight=1)).expect()
        .at(0.0, begin).expect("answer overloaded")
        .over()
    )  # fmt: skip


def test_without_any_address_the_app_hears_connect_failure() -> None:
    """There is nobody to connect to."""
    Script(own="", vendor="").at(0.0, begin).expect("answer connect_failure").over()


# Retry-After of a 429


def test_a_429_is_waited_for_once_when_it_asks_for_little() -> None:
    """A fallback may be dearer than a second of patience; the dice add half of a tenth."""
    (
        Script(own="a", vendor="v").under(wait_for_retry_after=2.0)
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.0, changed("own/a", until=1)).expect()
        .at(0.0, failed("429", retry_after=1)).expect("wait until 1.05")
        .at(1.05, woke).expect("try 2 own/a for 429")
        .at(1.1, failed("429", retry_after=1)).expect("try 3 vendor/v for 429 after own")
        .over()
    )  # fmt: skip


def test_the_wait_for_a_429_never_exceeds_its_limit() -> None:
    """The jitter must not make the app wait longer than its route says."""
    (
        Script(own="a").under(wait_for_retry_after=2.0)
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.0, failed("429", retry_after=2)).expect("wait until 2")
        .over()
    )  # fmt: skip


def test_after_its_retry_after_the_endpoint_is_tried_even_if_its_return_is_a_tick_behind() -> None:
    """Two timers of one moment fire in any order."""
    (
        Script(own="a", vendor="v").under(wait_for_retry_after=2.0)
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.0, changed("own/a", until=2, thinned=True)).expect()
        .at(0.0, failed("429", retry_after=2)).expect("wait until 2")
        .at(2.0, woke).expect("try 2 own/a for 429")
        .over()
    )  # fmt: skip


def test_a_timer_that_fires_a_hair_early_is_no_reason_to_go_elsewhere() -> None:
    """The event loop's clock has a grain of a millisecond."""
    (
        Script(own="a", vendor="v").under(wait_for_retry_after=2.0)
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.0, changed("own/a", until=2, thinned=True)).expect()
        .at(0.0, failed("429", retry_after=2)).expect("wait until 2")
        .at(1.9995, woke).expect("try 2 own/a for 429")
        .over()
    )  # fmt: skip


@pytest.mark.parametrize("retry_after", [2.1, None])
def test_a_429_that_asks_for_more_or_for_nothing_falls_back_at_once(retry_after: float | None) -> None:
    """Waiting blindly would be a tight loop."""
    (
        Script(own="a", vendor="v").under(wait_for_retry_after=2.0)
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed("429", retry_after=retry_after)).expect("try 2 vendor/v for 429 after own")
        .over()
    )  # fmt: skip


def test_by_default_a_429_is_not_waited_for() -> None:
    """The fallback is there for it."""
    (
        Script(own="a", vendor="v")
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed("429", retry_after=0.5)).expect("try 2 vendor/v for 429 after own")
        .over()
    )  # fmt: skip


def test_a_wait_that_a_429_asked_for_needs_no_budget_and_leaves_the_retries() -> None:
    """The service named the time itself; and a refusal afterwards is another matter."""
    (
        Script(own="a").under(wait_for_retry_after=2.0, max_attempts=3)
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.0, failed("429", retry_after=1)).expect("wait until 1.05")
        .at(1.05, woke).expect("try 2 own/a for 429")
        .at(1.05, failed("500")).expect("wait until 1.08")
        .at(1.08, woke).expect("try 3 own/a for 500")
        .over()
    )  # fmt: skip
    (
        Script(own="a").under(wait_for_retry_after=2.0).with_retries_spent(3)
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.0, failed("429", retry_after=1)).expect("wait until 1.05")
        .over()
    )  # fmt: skip


def test_a_request_that_finds_all_in_need_of_rest_waits_as_the_one_did_that_was_refused() -> None:
    """Else the first waits a second and is served, and everybody who comes in that second is turned away."""
    (
        Script(own="a", vendor="v").under(wait_for_retry_after=2.0)
        .at(0.0, changed("own/a", until=1, asks_for_rest=True)).expect()
        .at(0.0, changed("vendor/v", until=9, asks_for_rest=True)).expect()
        .at(0.0, begin).expect("wait until 1.05")
        .at(1.05, woke).expect("try 1 own/a")
        .over()
    )  # fmt: skip


def test_it_waits_for_whoever_is_back_first() -> None:
    """The primary may want much more rest than the app has patience."""
    (
        Script(own="a", vendor="v").under(wait_for_retry_after=2.0)
        .at(0.0, changed("own/a", until=9, asks_for_rest=True)).expect()
        .at(0.0, changed("vendor/v", until=1, asks_for_rest=True)).expect()
        .at(0.0, begin).expect("wait until 1.05")
        .at(1.05, woke).expect("try 1 vendor/v for cooling after own")
        .over()
    )  # fmt: skip


def test_it_waits_once() -> None:
    """If somebody else was refused again meanwhile, the app hears how long that takes."""
    (
        Script(own="a").under(wait_for_retry_after=2.0)
        .at(0.0, changed("own/a", until=1, asks_for_rest=True)).expect()
        .at(0.0, begin).expect("wait until 1.05")
        .at(1.0, changed("own/a", until=2, asks_for_rest=True)).expect()
        .at(1.05, woke).expect("answer overloaded")
        .over()
    )  # fmt: skip


@pytest.mark.parametrize(
    "wanted", [{"wait_for_retry_after": 0.5}, {}, {"wait_for_retry_after": 2.0, "deadline": 1.0}]
)
def test_it_does_not_wait_where_the_one_that_was_refused_would_not(wanted: dict[str, object]) -> None:
    """Longer than the operator allows, or than the request has."""
    (
        Script(own="a").under(**wanted)
        .at(0.0, changed("own/a", until=1, asks_for_rest=True)).expect()
        .at(0.0, begin).expect("answer overloaded")
        .over()
    )  # fmt: skip


# Deadlines


def test_a_share_of_the_deadline_is_kept_for_every_candidate_that_is_left() -> None:
    """A silent primary cannot eat the time of the services behind it; the last one gets all that is left."""
    (
        Script(own="a", vendor="v", other="o").under(deadline=9.0)
        .at(0.0, begin).expect("try 1 own/a until 3")
        .at(3.0, failed("deadline_exceeded")).expect("try 2 vendor/v for deadline_exceeded after own until 6")
        .at(4.0, failed("bad_response")).expect("try 3 other/o for bad_response after vendor until 9")
        .at(9.0, failed("deadline_exceeded")).expect("answer deadline_exceeded")
        .over()
    )  # fmt: skip


def test_a_service_that_could_not_be_asked_has_no_share() -> None:
    """Keeping time for an ejected or full service would only waste it."""
    (
        Script(own="a", ejected="e", full="f").under(deadline=9.0).limited(full=1)
        .at(0.0, changed("ejected/e", until=30)).expect()
        .at(0.0, changed("full/f", in_flight=1)).expect()
        .at(0.0, begin).expect("try 1 own/a until 9")
        .over()
    )  # fmt: skip


def test_an_attempt_that_max_attempts_forbids_has_no_share() -> None:
    """It will never be made."""
    (
        Script(own="a", vendor="v", other="o").under(deadline=9.0, max_attempts=2)
        .at(0.0, begin).expect("try 1 own/a until 4.5")
        .over()
    )  # fmt: skip


def test_where_no_timeout_falls_back_an_attempt_may_use_the_whole_deadline() -> None:
    """Cutting it early would help nobody."""
    (
        Script(own="a", vendor="v").under(deadline=9.0, fallback_on="5xx")
        .at(0.0, begin).expect("try 1 own/a until 9")
        .at(1.0, failed("501", retry_after=1)).expect("try 2 vendor/v for 501 after own until 9")
        .over()
    )  # fmt: skip


def test_a_timer_that_fires_a_hair_before_the_deadline_starts_no_hopeless_attempt() -> None:
    """The whole deadline was this attempt's share, so there is nothing left for another service."""
    (
        Script(own="a", vendor="v").under(deadline=9.0, fallback_on="5xx")
        .at(0.0, begin).expect("try 1 own/a until 9")
        .at(8.9995, failed("deadline_exceeded")).expect("answer deadline_exceeded")
        .over()
    )  # fmt: skip


def test_a_retry_stays_within_the_share_of_its_service() -> None:
    """What is left is shared anew, so that the fallback keeps its half."""
    (
        Script(own="a", vendor="v").under(deadline=8.0)
        .at(0.0, begin).expect("try 1 own/a until 4")
        .at(2.0, failed("500")).expect("wait until 2.03")
        .at(2.03, woke).expect("try 2 own/a for 500 until 5.015")
        .over()
    )  # fmt: skip


def test_no_wait_passes_the_share_of_the_deadline() -> None:
    """The app would wait for nothing, or the fallback would lose its time."""
    (
        Script(own="a", vendor="v").under(deadline=4.0, wait_for_retry_after=3.0)
        .at(0.0, begin).expect("try 1 own/a until 2")
        .at(0.0, failed("429", retry_after=2)).expect("try 2 vendor/v for 429 after own until 4")
        .at(3.99, failed("500")).expect("answer 500")
        .over()
    )  # fmt: skip


@pytest.mark.parametrize("event", [late, failed("bad_response")])
def test_after_the_deadline_nothing_is_tried(event: Event) -> None:
    """The app has given up by now, or is about to."""
    (
        Script(own="a", vendor="v").under(deadline=4.0)
        .at(0.0, begin).expect("try 1 own/a until 2")
        .at(4.0, event).expect("answer deadline_exceeded")
        .over()
    )  # fmt: skip


# The app's own patience


def test_a_slow_answer_may_use_all_the_time_that_the_app_gives() -> None:
    """An SDK's timeout is no wish for a fallback: cut half-way, a long answer would be computed twice."""
    (
        Script(own="a", vendor="v").app_gives_up(9.0)
        .at(0.0, begin).expect("try 1 own/a")
        .at(8.9, failed("bad_response")).expect("try 2 vendor/v for bad_response after own")
        .at(9.0, out_of_time).expect("answer deadline_exceeded")
        .over()
    )  # fmt: skip


def test_of_two_deadlines_the_earlier_one_ends_the_request() -> None:
    """The route's share is reckoned from the route's own deadline all the same."""
    for deadline, gives_up in ((8.0, 4.0), (4.0, 8.0)):
        (
            Script(own="a", vendor="v").under(deadline=deadline).app_gives_up(gives_up)
            .at(0.0, begin).expect(f"try 1 own/a until {deadline / 2:g}")
            .at(4.0, failed("bad_response")).expect("answer deadline_exceeded")
            .over()
        )  # fmt: skip


def test_no_wait_passes_the_moment_at_which_the_app_gives_up() -> None:
    """It would not be there any more to hear the answer."""
    (
        Script(own="a", vendor="v").under(wait_for_retry_after=3.0).app_gives_up(2.0)
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.0, failed("429", retry_after=2)).expect("try 2 vendor/v for 429 after own")
        .over()
    )  # fmt: skip


def test_the_app_may_give_up_while_the_request_waits() -> None:
    """The wait was short enough when it began, and the timer of the app's patience is a little early."""
    (
        Script(own="a").app_gives_up(0.2)
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed("500")).expect("wait until 0.13")
        .at(0.12, out_of_time).expect("answer deadline_exceeded")
        .over()
    )  # fmt: skip


# Order


@pytest.mark.parametrize("event", [late, woke, committed, failed("reset"), out_of_time])
def test_nothing_happens_before_a_request_begins(event: Event) -> None:
    """An illegal order is a bug of the driver, not a case to handle."""
    with pytest.raises(AssertionError, match="NEW"):
        event(Script(own="a"), 0.0)


@pytest.mark.parametrize("event", [begin, late, woke, failed("reset"), out_of_time])
def test_after_commit_only_the_end_is_legal(event: Event) -> None:
    """No other attempt may answer any more."""
    script = Script(own="a").at(0.0, begin).expect("try 1 own/a").at(0.1, committed).expect()
    with pytest.raises(AssertionError, match="COMMITTED"):
        event(script, 0.2)


@pytest.mark.parametrize("event", [begin, late, committed, failed("reset")])
def test_while_it_waits_a_request_has_no_attempt(event: Event) -> None:
    """Late news of a dropped attempt must not be taken for news of the next."""
    script = (
        Script(own="a").at(0.0, begin).expect("try 1 own/a").at(0.1, failed("500")).expect("wait until 0.13")
    )
    with pytest.raises(AssertionError, match="WAITING"):
        event(script, 0.12)


def test_a_request_may_end_at_any_time_and_gives_back_once() -> None:
    """The app may hang up in every phase, a wait included."""
    script = (
        Script(own="a").at(0.0, begin).expect("try 1 own/a").at(0.1, failed("500")).expect("wait until 0.13")
    )
    assert (script.budget.active, script.budget.retries) == (1, 1)
    script.over()
    script.over()
    assert script.plan.state is State.ENDED


def test_a_request_that_never_began_gives_nothing_back() -> None:
    """It has taken nothing."""
    script = Script(own="a")
    script.over()
    assert script.plan.state is State.ENDED
