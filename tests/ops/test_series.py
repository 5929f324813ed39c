"""The seconds of the charts, with invented time."""

from __future__ import annotations

from sidecar.ops.series import NOBODY, Series
from tests.telemetry.records import LATE, STARTED, attempt, request, rescued


def test_everything_is_filed_under_the_second_it_happened_in() -> None:
    """A long stream's first packet belongs to its beginning, its answer to its end."""
    series = Series(seconds=10)
    series.request_finished(request(attempt(first_packet=0.5, end=4.5)))
    columns = series.read(STARTED + 5)["primary"]
    assert columns["requests"] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert [value is not None for value in columns["first_packet_p50_ms"]] == [False] * 5 + [True] + [
        False
    ] * 4


def test_a_rescue_shows_in_both_services() -> None:
    """A failed attempt here, a fallback and the answer there."""
    series = Series(seconds=3)
    series.request_finished(rescued())
    read = series.read(STARTED + 2)
    assert {
        name: sum(n or 0 for n in read["primary"][name]) for name in ("attempts", "failures", "requests")
    } == {
        "attempts": 1,
        "failures": 1,
        "requests": 0,
    }
    assert {
        name: sum(n or 0 for n in read["backup"][name]) for name in ("attempts", "fallbacks", "requests")
    } == {
        "attempts": 1,
        "fallbacks": 1,
        "requests": 1,
    }


def test_a_hedge_counts_as_a_fallback_only_when_it_wins() -> None:
    """As the metric and the event do: the app was answered by the service that was chosen."""
    series = Series(seconds=3)
    own, hedge = attempt(), attempt(2, "backup", fallback_from="primary", reason="hedge")
    asked = request(own, hedge)
    asked.answered, asked.service = own, "primary"
    series.request_finished(asked)
    assert sum(n or 0 for n in series.read(STARTED + 2)["backup"]["fallbacks"]) == 0
    asked.answered, asked.service = hedge, "backup"
    series.request_finished(asked)
    assert sum(n or 0 for n in series.read(STARTED + 2)["backup"]["fallbacks"]) == 1


def test_what_nobody_answered_is_shown_as_such() -> None:
    """The share of failures is the first thing to see."""
    series = Series(seconds=3)
    series.request_finished(request(attempt(failure=LATE), failure=LATE))
    assert series.read(STARTED + 2)[NOBODY]["requests"] == [0, 0, 1]


def test_percentiles_are_right_to_a_tenth() -> None:
    """A chart needs no more."""
    series = Series(seconds=3)
    for hundredth in range(1, 101):
        series.request_finished(request(attempt(first_packet=hundredth / 200)))
    columns = series.read(STARTED + 2)["primary"]
    median, high = columns["first_packet_p50_ms"][1], columns["first_packet_p99_ms"][1]
    assert median is not None
    assert high is not None
    assert abs(median - 250) < 25
    assert abs(high - 495) < 50


def test_the_present_second_is_not_shown_until_it_is_over() -> None:
    """Half a second would look like half the traffic."""
    series = Series(seconds=3)
    series.request_finished(request(attempt(end=1.2)))
    assert series.read(STARTED + 1.9)["primary"]["requests"] == [0, 0, 0]
    assert series.read(STARTED + 2.0)["primary"]["requests"] == [0, 0, 1]


def test_old_seconds_and_services_are_forgotten() -> None:
    """Memory is bounded by the window, not by the life of the process."""
    series = Series(seconds=3)
    series.request_finished(request())
    assert series.read(STARTED + 4).keys() == {"primary"}
    assert series.read(STARTED + 60) == {}


def test_what_ended_before_the_window_is_not_counted() -> None:
    """It would come back as a second that was forgotten already."""
    series = Series(seconds=3)
    series.request_finished(request(attempt(end=100.0)))
    series.request_finished(request(attempt(service="old", end=1.0)))
    assert series.read(STARTED + 101).keys() == {"primary"}


def test_services_are_bounded() -> None:
    """Names change with every policy."""
    series = Series(seconds=3, max_services=2)
    for name in ("a", "b", "c"):
        series.request_finished(request(attempt(service=name)))
    assert series.read(STARTED + 2).keys() == {"a", "b"}
