"""Two attempts at a time: a second one for a stream that is slow but not late, and only one of them answers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.attempt.script import Script, begin, changed, committed, failed, late, late_one, slow, tell, woke


def test_a_slow_attempt_gets_a_second_one_beside_it_in_the_same_service() -> None:
    """Another endpoint has its own queue; it is likely to be the faster one by now."""
    (
        Script(own="ab", vendor="v").hedging()
        .at(0.0, begin).expect("try 1 own/b")
        .at(0.1, changed("own/b", in_flight=1)).expect()
        .at(0.1, slow).expect("try 2 own/a for hedge")
        .at(0.2, committed).expect()
        .over()
    )  # fmt: skip


def test_without_another_endpoint_the_next_service_is_asked() -> None:
    """One endpoint is the usual case for a self-hosted LLM."""
    (
        Script(own="a", vendor="v").hedging()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, slow).expect("try 2 vendor/v for hedge after own")
        .over()
    )  # fmt: skip


def test_a_route_that_may_not_leave_a_late_service_does_not_hedge_into_another() -> None:
    """Whoever wants no fallback for lateness did not ask for a vendor's bill."""
    (
        Script(own="a", vendor="v").hedging().under(fallback_on="reset")
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, slow).expect()
        .over()
    )  # fmt: skip


def test_a_request_hedges_once() -> None:
    """A second attempt halves the wait; a third one only doubles the load."""
    (
        Script(own="abc").hedging()
        .at(0.0, begin).expect("try 1 own/b")
        .at(0.1, slow).expect("try 2 own/c for hedge")
        .at(0.2, slow).expect()
        .over()
    )  # fmt: skip


def test_no_hedge_beyond_the_budget() -> None:
    """When everything is slow, hedging would double the load that makes it slow."""
    (
        Script(own="ab").hedging(taken=1)
        .at(0.0, begin).expect("try 1 own/b")
        .at(0.1, slow).expect()
        .over()
    )  # fmt: skip


def test_the_loser_of_two_is_dropped_in_silence_while_the_other_goes_on() -> None:
    """There is already somebody who may answer."""
    (
        Script(own="ab", vendor="v").hedging()
        .at(0.0, begin).expect("try 1 own/b")
        .at(0.1, slow).expect("try 2 own/a for hedge")
        .at(0.2, late_one(1)).expect("drop")
        .at(0.3, committed).expect()
        .over()
    )  # fmt: skip


def test_a_hedge_that_fails_leaves_the_first_attempt_alone() -> None:
    """It was only slow, and may answer yet; the failure of the hedge is remembered."""
    (
        Script(own="ab", vendor="v").hedging()
        .at(0.0, begin).expect("try 1 own/b")
        .at(0.1, slow).expect("try 2 own/a for hedge")
        .at(0.15, failed("503", 2)).expect()
        .at(0.2, late).expect("try 3 vendor/v for first_packet_timeout after own")
        .over()
    )  # fmt: skip


def test_a_hedge_that_failed_elsewhere_leaves_the_first_where_it_was() -> None:
    """The fallback was asked too early, not in vain: a 503 is worth one more try, and the first hangs for good."""
    (
        Script(own="a", vendor="v").hedging()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, slow).expect("try 2 vendor/v for hedge after own")
        .at(0.15, failed("503", 2)).expect()
        .at(0.2, late).expect("try 3 vendor/v for first_packet_timeout after own")
        .at(0.3, failed("503")).expect("answer 503")
        .over()
    )  # fmt: skip


def test_what_made_a_hedge_fail_for_good_is_not_asked_for_again() -> None:
    """An error inside a stream would come again; a further service may do better."""
    (
        Script(own="a", vendor="v", other="o").hedging()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, slow).expect("try 2 vendor/v for hedge after own")
        .at(0.15, failed("in_stream_error", 2)).expect()
        .at(0.2, late).expect("try 3 other/o for first_packet_timeout after own")
        .over()
    )  # fmt: skip


def test_after_a_failed_hedge_the_first_keeps_the_retries_of_its_service() -> None:
    """They are counted by service, and it never left its own."""
    (
        Script(own="a", vendor="v").hedging()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, slow).expect("try 2 vendor/v for hedge after own")
        .at(0.15, failed("503", 2)).expect()
        .at(0.2, failed("reset")).expect("wait until 0.23")
        .at(0.23, woke).expect("try 3 own/a for reset")
        .over()
    )  # fmt: skip


def test_after_a_failed_hedge_a_429_is_waited_for_where_it_came_from() -> None:
    """The vendor has asked for nothing."""
    (
        Script(own="a", vendor="v").hedging().under(wait_for_retry_after=2.0)
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, slow).expect("try 2 vendor/v for hedge after own")
        .at(0.15, failed("503", 2)).expect()
        .at(0.2, failed("429", retry_after=1)).expect("wait until 1.25")
        .at(1.25, woke).expect("try 3 own/a for 429")
        .over()
    )  # fmt: skip


def test_without_retries_a_failed_hedge_was_the_only_try_of_its_service() -> None:
    """`retries_per_service: 0` counts hedges too."""
    (
        Script(own="a", vendor="v").hedging().under(retries_per_service=0)
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, slow).expect("try 2 vendor/v for hedge after own")
        .at(0.15, failed("503", 2)).expect()
        .at(0.2, failed("reset")).expect("answer reset")
        .over()
    )  # fmt: skip


def test_when_both_have_failed_the_plan_goes_on_as_after_the_last_failure() -> None:
    """Nothing of the request is lost by having had two."""
    (
        Script(own="ab", vendor="v").hedging()
        .at(0.0, begin).expect("try 1 own/b")
        .at(0.1, slow).expect("try 2 own/a for hedge")
        .at(0.15, failed("reset", 1)).expect()
        .at(0.2, failed("in_stream_error", 2)).expect("try 3 vendor/v for in_stream_error after own")
        .over()
    )  # fmt: skip


def test_a_late_hedge_is_dropped_while_the_first_attempt_is_still_in_time() -> None:
    """The next service may have the shorter timeout."""
    (
        Script(own="a", vendor="v").hedging()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, slow).expect("try 2 vendor/v for hedge after own")
        .at(0.2, late_one(2)).expect("drop")
        .at(0.3, late_one(1)).expect()
        .at(0.4, committed).expect()
        .over()
    )  # fmt: skip


def test_where_lateness_may_not_fall_back_both_go_on() -> None:
    """Neither is given up for being late, and whoever answers first answers."""
    (
        Script(own="ab").hedging().under(fallback_on="reset")
        .at(0.0, begin).expect("try 1 own/b")
        .at(0.1, slow).expect("try 2 own/a for hedge")
        .at(0.2, late_one(1)).expect()
        .at(0.3, late_one(2)).expect()
        .at(0.4, committed).expect()
        .over()
    )  # fmt: skip


def test_the_last_attempt_that_is_allowed_is_not_hedged() -> None:
    """max_attempts counts every sending, whatever it is for."""
    (
        Script(own="ab").hedging().under(max_attempts=1)
        .at(0.0, begin).expect("try 1 own/b")
        .at(0.1, slow).expect()
        .over()
    )  # fmt: skip


def test_nothing_is_hedged_after_the_deadline() -> None:
    """A second attempt could not answer in time."""
    (
        Script(own="ab").hedging().app_gives_up(0.1)
        .at(0.0, begin).expect("try 1 own/b")
        .at(0.1, slow).expect()
        .over()
    )  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(["late", "failed", "slow"]), st.booleans()), max_size=12))
def test_however_two_attempts_end_at_most_two_run_and_every_budget_is_settled(
    story: list[tuple[str, bool]],
) -> None:
    """Two that answered would garble the app's stream; a hedge not given back would end hedging for good."""
    script = Script(own="ab", vendor="vw").hedging().under(max_attempts=9)
    running = {1}
    tell(script.plan.begin(0.0))
    for happening, newest in story:
        if not running:
            break
        number = max(running) if newest else min(running)
        if happening == "slow":
            command = tell(script.plan.slow(1.0))
            assert not (command and len(running) > 1)
        elif happening == "late":
            command = tell(script.plan.late(1.0, number))
            running -= {number} if command else set()
        else:
            command = tell(failed("in_stream_error", number)(script, 1.0))
            running -= {number}
            assert command or running, "a request with nothing running has a command"
        if command.startswith("try "):
            running.add(int(command.split()[1]))
        assert len(running) <= 2
    script.at(2.0, changed("own/a")).expect()
    script.over()
