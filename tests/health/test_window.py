"""Rules of the sliding count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.health.window import STEPS, Window


def test_what_is_older_than_the_window_is_forgotten() -> None:
    """An endpoint is judged by how it is, not by how it was."""
    window = Window(10.0)
    window.add(failed=True, now=100.5)
    window.add(failed=False, now=105.5)
    window.roll(109.9)
    assert (window.requests, window.failures) == (2, 1)
    window.roll(110.5)
    assert (window.requests, window.failures) == (1, 0)
    window.roll(1e6)
    assert (window.requests, window.failures) == (0, 0)


def test_a_clock_that_steps_back_loses_nothing() -> None:
    """Two callers may hold readings of the clock that differ by a tick."""
    window = Window(10.0)
    window.add(failed=True, now=50.0)
    window.add(failed=True, now=48.9)
    assert (window.requests, window.failures) == (2, 2)


def test_a_window_without_requests_has_no_percentage() -> None:
    """Nothing divided by nothing must not look like a failure."""
    window = Window(10.0)
    assert window.failure_percentage == 0.0
    window.add(failed=True, now=1.0)
    window.add(failed=False, now=1.0)
    assert window.failure_percentage == pytest.approx(50.0)


def test_a_cleared_window_counts_from_nothing() -> None:
    """After its return an endpoint starts anew."""
    window = Window(10.0)
    window.add(failed=True, now=3.0)
    window.clear()
    assert (window.requests, window.failures) == (0, 0)
    window.add(failed=False, now=3.0)
    assert (window.requests, window.failures) == (1, 0)


@given(
    st.floats(0.01, 3600.0),
    st.lists(st.tuples(st.floats(0.0, 5.0), st.booleans()), min_size=1, max_size=60),
)
def test_the_ring_agrees_with_a_list_of_everything_that_happened(
    length: float, outcomes: list[tuple[float, bool]]
) -> None:
    """The ring is only a faster way to count the steps that lie within the window."""
    window, now, seen = Window(length), 1000.0, []
    for gap, failed in outcomes:
        now += gap * length / 4
        window.add(failed=failed, now=now)
        step = int(now / (length / STEPS))
        seen.append((step, failed))
        recent = [was_failed for at, was_failed in seen if at > step - STEPS]
        assert (window.requests, window.failures) == (len(recent), sum(recent))
