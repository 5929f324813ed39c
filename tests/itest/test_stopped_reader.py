"""A reader of health events that is suspended for a minute; the short form of it is in tests/daemon/test_events.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.test_events import reader_stops

pytestmark = pytest.mark.itest


def test_a_reader_that_stops_for_a_minute_costs_nothing_and_is_told_what_it_missed(tmp_path: Path) -> None:
    """Long enough for every buffer on the way to fill, and for a connection to be taken for dead."""
    reader_stops(tmp_path, seconds=60.0)
