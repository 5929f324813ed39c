"""A service that is full may let a request wait; what becomes of it then."""

from __future__ import annotations

from tests.attempt.script import Script, begin, changed, committed, failed, in_turn, waited_enough


def test_a_request_over_the_limit_stands_in_line_and_takes_its_turn() -> None:
    """Waiting a moment for the own GPU is cheaper than a vendor."""
    (
        Script(own="a", vendor="v").limited(own=1).with_line("own", length=8, timeout=0.5)
        .at(0.0, changed("own/a", in_flight=1)).expect()
        .at(0.0, begin).expect("stand in line until 0.5")
        .at(0.1, in_turn).expect()
        .at(0.2, changed("own/a", in_flight=0)).expect()
        .at(0.2, in_turn).expect("try 1 own/a")
        .at(0.3, committed).expect()
        .over()
    )  # fmt: skip


def test_whoever_has_waited_enough_goes_to_the_next_service() -> None:
    """The wait is bounded by the operator, not by luck."""
    (
        Script(own="a", vendor="v").limited(own=1).with_line("own", length=8, timeout=0.5)
        .at(0.0, changed("own/a", in_flight=1)).expect()
        .at(0.0, begin).expect("stand in line until 0.5")
        .at(0.5, waited_enough).expect("try 1 vendor/v for overloaded after own")
        .over()
    )  # fmt: skip


def test_whoever_waits_for_what_has_been_ejected_meanwhile_goes_on_at_once() -> None:
    """There will be no place for as long as the ejection lasts; the next service has one now."""
    (
        Script(own="a", vendor="v").limited(own=1).with_line("own", length=8, timeout=0.5)
        .at(0.0, changed("own/a", in_flight=1)).expect()
        .at(0.0, begin).expect("stand in line until 0.5")
        .at(0.1, changed("own/a", until=30)).expect()
        .at(0.1, in_turn).expect("try 1 vendor/v for unhealthy after own")
        .over()
    )  # fmt: skip


def test_with_nowhere_else_to_go_it_is_told_overloaded() -> None:
    """max_concurrency is a promise to the server; nothing lifts it."""
    (
        Script(own="a").limited(own=1).with_line("own", length=8, timeout=0.5)
        .at(0.0, changed("own/a", in_flight=1)).expect()
        .at(0.0, begin).expect("stand in line until 0.5")
        .at(0.5, waited_enough).expect("answer overloaded")
        .over()
    )  # fmt: skip


def test_waiting_does_not_open_a_way_that_fallback_on_does_not_name() -> None:
    """Whoever wants no vendor's bill for a full GPU wants none a second later."""
    (
        Script(own="a", vendor="v").under(fallback_on="5xx").limited(own=1)
        .with_line("own", length=8, timeout=0.5)
        .at(0.0, changed("own/a", in_flight=1)).expect()
        .at(0.0, begin).expect("stand in line until 0.5")
        .at(0.5, waited_enough).expect("answer overloaded")
        .over()
    )  # fmt: skip
    (
        Script(own="a", vendor="v").under(fallback_on="5xx").limited(own=1)
        .with_line("own", length=8, timeout=0.5)
        .at(0.0, changed("own/a", in_flight=1)).expect()
        .at(0.0, begin).expect("stand in line until 0.5")
        .at(0.1, changed("own/a", in_flight=0, until=30)).expect()
        .at(0.1, in_turn).expect("try 1 own/a")
        .over()
    )  # fmt: skip


def test_a_limit_that_gives_way_does_so_after_the_wait_too() -> None:
    """A late answer is better than none where nothing else may be asked."""
    (
        Script(own="a", vendor="v").under(fallback_on="5xx").with_line("own", length=8, timeout=0.5)
        .at(0.0, changed("own/a", limited=True)).expect()
        .at(0.0, begin).expect("stand in line until 0.5")
        .at(0.5, waited_enough).expect("try 1 own/a")
        .over()
    )  # fmt: skip


def test_a_full_line_lets_nobody_in() -> None:
    """The app hears at once what it would hear later anyway."""
    script = Script(own="a", vendor="v").limited(own=1).with_line("own", length=0, timeout=0.5)
    (
        script.at(0.0, changed("own/a", in_flight=1)).expect()
        .at(0.0, begin).expect("try 1 vendor/v for overloaded after own")
        .over()
    )  # fmt: skip


def test_a_fallback_may_stand_in_the_line_of_the_next_service() -> None:
    """Its place in the story is kept: the reason of the fallback is the failure before the wait."""
    (
        Script(own="a", vendor="v").limited(vendor=1).with_line("vendor", length=8, timeout=0.5)
        .at(0.0, changed("vendor/v", in_flight=1)).expect()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed("in_stream_error")).expect("stand in line until 0.6")
        .at(0.2, changed("vendor/v", in_flight=0)).expect()
        .at(0.2, in_turn).expect("try 2 vendor/v for in_stream_error after own")
        .over()
    )  # fmt: skip


def test_when_the_wait_after_a_failure_was_in_vain_the_failure_is_the_answer() -> None:
    """What went wrong says more than that somebody else was full."""
    (
        Script(own="a", vendor="v").limited(vendor=1).with_line("vendor", length=8, timeout=0.5)
        .at(0.0, changed("vendor/v", in_flight=1)).expect()
        .at(0.0, begin).expect("try 1 own/a")
        .at(0.1, failed("in_stream_error")).expect("stand in line until 0.6")
        .at(0.6, waited_enough).expect("answer in_stream_error")
        .over()
    )  # fmt: skip


def test_nobody_waits_beyond_the_deadline_of_the_route() -> None:
    """A share of it is kept for the services that are left."""
    (
        Script(own="a", vendor="v").limited(own=1).under(deadline=0.6)
        .with_line("own", length=8, timeout=5.0)
        .at(0.0, changed("own/a", in_flight=1)).expect()
        .at(0.0, begin).expect("stand in line until 0.3")
        .at(0.3, waited_enough).expect("try 1 vendor/v for overloaded after own until 0.6")
        .over()
    )  # fmt: skip
