"""The load over time."""

from __future__ import annotations

import math
from itertools import takewhile
from random import Random

import pytest

from sidecar.demo.schedule import Arrival, Began, LoadPhase, load

CALM = LoadPhase("calm", 5.0, 2.0)
SURGE = LoadPhase("surge", 10.0, 20.0)
REST = LoadPhase("rest", 5.0, 0.0)


def test_after_the_first_phase_the_others_repeat_until_the_end() -> None:
    """The demo may run for as long as somebody looks."""
    events = list(load(CALM, [SURGE, REST], Random(1), end=36.0))
    began = [(event.at, event.phase.name) for event in events if isinstance(event, Began)]
    assert began == [(0, "calm"), (5, "surge"), (15, "rest"), (20, "surge"), (30, "rest"), (35, "surge")]


def test_arrivals_come_in_order_within_their_phase_and_before_the_end() -> None:
    """Whoever carries the schedule out only has to wait for the next."""
    events = list(load(CALM, [SURGE, REST], Random(2), end=36.0))
    moments = [event.at for event in events]
    assert moments == sorted(moments)
    assert moments[-1] < 36.0
    resting = [at for at in moments if 15 < at < 20 or 30 < at < 35]
    assert resting == []


def test_each_phase_has_its_rate() -> None:
    """Over an hour chance evens out."""
    events = load(LoadPhase("calm", 0.0, 1.0), [SURGE, CALM], Random(3), end=3600.0)
    arrivals = [event.at % 15 for event in events if isinstance(event, Arrival)]
    in_surge = sum(at < 10 for at in arrivals)
    assert in_surge / 2400 == pytest.approx(20.0, rel=0.03)
    assert (len(arrivals) - in_surge) / 1200 == pytest.approx(2.0, rel=0.1)


def test_without_an_end_it_goes_on() -> None:
    """`sidecar demo` without --seconds."""
    events = load(CALM, [SURGE], Random(4), end=math.inf)
    assert sum(1 for _ in takewhile(lambda event: event.at < 100.0, events)) > 1500


def test_a_schedule_without_length_is_a_mistake() -> None:
    """It would begin phases for ever, all at the same moment."""
    with pytest.raises(AssertionError, match="stands still"):
        next(load(LoadPhase("nothing", 0.0, 1.0), [LoadPhase("nothing", 0.0, 1.0)], Random(5), end=1.0))
