"""A bucket: as much as one period allows, refilled evenly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.quota.bucket import Bucket


def test_it_holds_what_a_period_allows_and_is_refilled_evenly() -> None:
    bucket = Bucket(60.0, 60.0, 0.0)
    bucket.take(60.0, 0.0)
    assert bucket.level(0.0) == 0.0
    assert bucket.level(1.0) == pytest.approx(1.0)
    assert bucket.level(1000.0) == 60.0


def test_how_long_to_wait_is_told_exactly() -> None:
    """An app that waits so long is let in, and one that waits less is not."""
    bucket = Bucket(10.0, 10.0, 0.0)
    bucket.take(10.0, 0.0)
    wait = bucket.wait(3.0, 0.0)
    assert wait == pytest.approx(3.0)
    assert bucket.wait(3.0, wait - 0.01) > 0.0
    assert bucket.wait(3.0, wait) == 0.0


def test_what_was_used_beyond_the_estimate_is_paid_later() -> None:
    """The answer's tokens are known when it is over."""
    bucket = Bucket(10.0, 10.0, 0.0)
    bucket.take(30.0, 0.0)
    assert bucket.wait(1.0, 0.0) == pytest.approx(21.0)


def test_more_than_it_holds_passes_when_it_is_full() -> None:
    """Or a long prompt would never pass."""
    bucket = Bucket(10.0, 10.0, 0.0)
    assert bucket.wait(50.0, 0.0) == 0.0
    bucket.take(1.0, 0.0)
    assert bucket.wait(50.0, 0.0) == pytest.approx(1.0)


def test_what_is_given_back_does_not_overflow() -> None:
    bucket = Bucket(10.0, 10.0, 0.0)
    bucket.take(-5.0, 0.0)
    assert bucket.level(0.0) == 10.0


@given(st.lists(st.tuples(st.floats(0.0, 5.0), st.floats(0.1, 20.0)), max_size=60))
def test_never_more_is_let_in_than_its_size_and_what_came_in_since(asked: list[tuple[float, float]]) -> None:
    """Whatever the timing."""
    bucket, now, let_in = Bucket(10.0, 10.0, 0.0), 0.0, 0.0
    for passed, amount in asked:
        now += passed
        amount = min(amount, bucket.size)
        if bucket.wait(amount, now) == 0.0:
            bucket.take(amount, now)
            let_in += amount
        assert let_in <= bucket.size + now * bucket.rate + 1e-6
