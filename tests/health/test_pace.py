"""How fast an endpoint begins to answer: up at once, down slowly."""

from __future__ import annotations

from random import Random

import pytest

from sidecar.choice import Skipped
from sidecar.failure import Verdict
from sidecar.frozen import replace
from sidecar.health.ledger import Ledger
from sidecar.health.pace import FAILED, LONGEST, MEMORY, Pace
from sidecar.route.candidates import ServicePicker
from tests.health.script import PLAIN, SERVICE, service_of


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


def test_one_that_fails_at_once_is_not_the_fastest() -> None:
    """It has answered nobody, however soon it was done with it."""
    pace = Pace()
    pace.failed(0.0)
    assert pace.at(0.0) == FAILED
    pace.failed(0.0)
    assert pace.at(0.0) == 2 * FAILED
    for _ in range(20):
        pace.failed(0.0)
    assert pace.at(0.0) == LONGEST
    assert pace.at(0.0 + 10 * MEMORY) == pytest.approx(0.0, abs=0.01)  # and it is forgiven like a slow one


def test_a_server_that_fails_fast_does_not_draw_the_traffic_of_its_neighbours() -> None:
    """With a window too thin to eject it, it would be asked by every second request and more."""
    service = replace(
        service_of("ab", replace(PLAIN, consecutive_failures=0, failure_percentage_threshold=0.0)),
        load_balancing="peak_ewma",
    )
    ledger, rng = Ledger(Random(1)), Random(2)
    ledger.configure({SERVICE: service}, 0.0)
    picker = ServicePicker(service, lambda: ledger.endpoints(SERVICE), rng)
    asked = {"a:80": 0, "b:80": 0}
    for tenth in range(300):
        now = tenth / 10
        endpoint = picker.pick((), now)
        assert not isinstance(endpoint, Skipped)
        asked[endpoint.key.address] += 1
        era = ledger.started(endpoint, now)
        if endpoint.key.address == "b:80":
            ledger.on_time(endpoint, now - 0.2, now)
        verdict = Verdict.FAILURE if endpoint.key.address == "a:80" else Verdict.SUCCESS
        ledger.finished(endpoint, verdict, now, None, era, began=now)
    assert asked["a:80"] < 10, asked
