"""Rules of passive health for one endpoint."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.frozen import replace
from sidecar.health.outlier import Outlier, may_eject
from sidecar.policy.snapshot import PassiveHealth

POLICY = PassiveHealth(ejection_jitter=0.0, consecutive_failures=0)


def play(outlier: Outlier, results: str, now: float = 100.0) -> list[str | None]:
    """Plays `+` and `-` at one moment."""
    return [outlier.observe(failed=mark == "-", now=now) for mark in results]


def test_the_percentage_ejects_at_its_threshold_and_not_below() -> None:
    """Envoy compares with `>=`."""
    assert play(Outlier(POLICY, 0.0), "+++---")[-1] == "failure_percentage"
    assert set(play(Outlier(POLICY, 0.0), "++++---")) == {None}


def test_fewer_attempts_than_the_minimum_are_not_judged_by_percentage() -> None:
    """One failure of one attempt is 100 per cent of nothing."""
    assert play(Outlier(POLICY, 0.0), "-----") == [None] * 4 + ["failure_percentage"]


def test_a_success_may_complete_the_minimum() -> None:
    """Four failures of five are 80 per cent whichever came last."""
    assert play(Outlier(POLICY, 0.0), "----+") == [None] * 4 + ["failure_percentage"]


def test_failures_in_a_row_eject_however_few_attempts_there_are() -> None:
    """With one request a minute the window never holds the minimum."""
    outlier = Outlier(replace(POLICY, consecutive_failures=3), 0.0)
    assert [outlier.observe(failed=True, now=60.0 * i) for i in range(3)] == [
        None,
        None,
        "consecutive_failures",
    ]


def test_a_success_ends_the_run() -> None:
    """In a row means in a row."""
    outlier = Outlier(replace(POLICY, consecutive_failures=3, failure_percentage_threshold=0), 0.0)
    assert set(play(outlier, "--+--+--")) == {None}


def test_0_switches_a_rule_off() -> None:
    """As in Envoy."""
    outlier = Outlier(replace(POLICY, consecutive_failures=0, failure_percentage_threshold=0), 0.0)
    assert set(play(outlier, "-" * 100)) == {None}


def test_the_ejection_time_grows_with_k_up_to_its_cap() -> None:
    """An endpoint that keeps failing is asked less and less often."""
    outlier = Outlier(replace(POLICY, base_ejection_time=30.0, max_ejection_time=70.0), 0.0)
    ejections = []
    for _ in range(3):
        ejections.append(outlier.eject(Random(1), 0.0))
        outlier.start_anew(0.0)
    assert ejections == [(1, 30.0), (2, 60.0), (3, 70.0)]


def test_jitter_comes_on_top_of_the_cap() -> None:
    """At the cap is where endpoints that left together would else come back together."""
    policy = replace(POLICY, base_ejection_time=100.0, max_ejection_time=100.0, ejection_jitter=10.0)
    ends = [Outlier(policy, 0.0).eject(Random(seed), 0.0)[1] for seed in range(50)]
    assert min(ends) >= 100.0
    assert 105.0 < max(ends) <= 110.0
    assert len(set(ends)) == 50


def test_k_falls_by_one_for_each_interval_in_good_health_and_never_below_0() -> None:
    """The past of an endpoint that behaves is forgiven step by step."""
    outlier = Outlier(replace(POLICY, interval=2.0), 0.0)
    for _ in range(3):
        outlier.eject(Random(1), 10.0)
        outlier.start_anew(10.0)
    assert [outlier.multiplier(now) for now in (10.0, 11.9, 12.0, 14.5, 16.0, 1e9)] == [3, 3, 2, 1, 0, 0]


def test_k_stays_while_the_endpoint_is_out() -> None:
    """To be away is not to be healthy."""
    outlier = Outlier(POLICY, 0.0)
    outlier.eject(Random(1), 10.0)
    assert outlier.multiplier(1e6) == 1


def test_a_failure_begins_the_interval_of_good_health_again() -> None:
    """An interval with a failure in it was not a good one."""
    outlier = Outlier(POLICY, 0.0)
    outlier.eject(Random(1), 10.0)
    outlier.start_anew(10.0)
    outlier.observe(failed=True, now=10.75)
    assert outlier.multiplier(11.5) == 1
    assert outlier.multiplier(11.75) == 0


def test_a_policy_change_keeps_k_and_the_run() -> None:
    """A new threshold is no reason to trust an endpoint that was failing."""
    outlier = Outlier(replace(POLICY, consecutive_failures=3), 0.0)
    outlier.eject(Random(1), 10.0)
    outlier.start_anew(10.0)
    play(outlier, "--", now=10.5)
    outlier.adopt(replace(POLICY, consecutive_failures=3, interval=100.0), 11.0)
    assert outlier.multiplier(12.0) == 1
    assert play(outlier, "-", now=12.0) == ["consecutive_failures"]


def test_intervals_that_have_passed_count_by_the_policy_of_their_time() -> None:
    """A longer interval must not take back what good health has earned."""
    outlier = Outlier(POLICY, 0.0)
    for _ in range(2):
        outlier.eject(Random(1), 10.0)
        outlier.start_anew(10.0)
    outlier.adopt(replace(POLICY, interval=100.0), 11.5)
    assert outlier.multiplier(12.5) == 1


def test_a_policy_change_keeps_the_window_unless_its_length_changes() -> None:
    """Buckets of another width cannot be filled from the old ones."""
    outlier = Outlier(POLICY, 0.0)
    play(outlier, "--")
    outlier.adopt(replace(POLICY, minimum_requests=3), 100.0)
    assert outlier.window.requests == 2
    outlier.adopt(replace(POLICY, window=60.0), 100.0)
    assert outlier.window.requests == 0
    assert outlier.window.length == 60.0


@pytest.mark.parametrize(
    ("percent", "total", "most"),
    [
        (100, 1, 1),
        (100, 5, 5),
        (50, 1, 1),
        (50, 2, 1),
        (50, 5, 2),
        (60, 5, 3),
        (10, 5, 1),
        (0, 1, 0),
        (0, 5, 0),
    ],
)
def test_the_share_limit_counts_right_for_few_endpoints(percent: int, total: int, most: int) -> None:
    """One may always leave, or 10 per cent of five would mean never; 0 means never."""
    out = 0
    while out < total and may_eject(out, total, percent):
        out += 1
    assert out == most


@given(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from("+-e")), max_size=60),
    st.sampled_from((0.25, 0.5, 1.0, 4.0)),
)
def test_k_agrees_with_a_slow_model_that_looks_at_every_interval(
    steps: list[tuple[int, str]], interval: float
) -> None:
    """k is computed when it is asked for; the model takes one off at the end of each good interval."""
    outlier = Outlier(replace(POLICY, interval=interval, failure_percentage_threshold=0), 0.0)
    k, good_until, now = 0, interval, 0.0
    for quarters, what in steps:
        now += quarters / 4  # quarters of a second are exact in floats
        while good_until <= now:
            k, good_until = max(0, k - 1), good_until + interval
        assert outlier.multiplier(now) == k
        if what == "-":
            outlier.observe(failed=True, now=now)
            good_until = now + interval
        elif what == "+":
            outlier.observe(failed=False, now=now)
        else:
            k, good_until = k + 1, now + interval
            assert outlier.eject(Random(1), now)[0] == k
            outlier.start_anew(now)
