"""Wall time as text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.telemetry.walltime import WallTime
from tests.telemetry.records import WALL


def _clock() -> WallTime:
    return WallTime(wall=lambda: WALL, monotonic=lambda: 1000.0)


def test_a_moment_is_rfc_3339_with_milliseconds() -> None:
    """Milliseconds are cut off, so that no text is ahead of its time."""
    assert _clock().now() == "2026-01-01T00:00:00.000Z"
    assert _clock().text(WALL + 1_999_999_999) == "2026-01-01T00:00:01.999Z"


def test_a_monotonic_moment_is_placed_around_now() -> None:
    """Ejections end in the future."""
    assert _clock().at(1030.25) == "2026-01-01T00:00:30.250Z"
    assert _clock().at(999.5) == "2025-12-31T23:59:59.500Z"


@given(st.lists(st.integers(0, 4_000_000_000_000), min_size=1))
def test_the_text_kept_of_a_second_never_serves_another(moments: list[int]) -> None:
    """Requests end in another order than they are asked about."""
    clock = _clock()
    texts = [clock.text(moment) for moment in moments]
    assert texts == [_clock().text(moment) for moment in moments]
    assert sorted(texts) == [clock.text(moment) for moment in sorted(moments)]
