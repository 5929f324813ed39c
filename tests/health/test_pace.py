"""How fast an endpoint begins to answer: up at once, down slowly."""

from __future__ import annotations

import pytest

from sidecar.health.pace import MEMORY, Pace


def test_nothing_is_known_before_the_first_packet() -> None:
    assert Pace().at(5.0) is None


def test_a_slow_one_is_felt_at_once() -> None:
    """The next request shall not have to find out for itself."""
    pace = Pace()
    pace.heard(0.1, 0.0)
    pace.heard(3.0, 0.1)
    assert pace.at(0.1) == 3.0


def test_fast_ones_are_believed_little_by_little() -> None:
    """One lucky request says little about an endpoint that was slow a moment ago."""
    pace = Pace()
    pace.heard(3.0, 0.0)
    pace.heard(0.1, 0.5)
    at = pace.at(0.5)
    assert at is not None
    assert 2.5 < at < 3.0
    for step in range(1, 200):
        pace.heard(0.1, 0.5 + step * 0.5)
    assert pace.at(100.0) == pytest.approx(0.1, abs=0.01)


def test_an_endpoint_that_is_avoided_is_forgiven() -> None:
    """Nobody would ask it again, so nothing would ever be heard of it."""
    pace = Pace()
    pace.heard(3.0, 0.0)
    at = pace.at(5 * MEMORY)
    assert at is not None
    assert at < 0.05
