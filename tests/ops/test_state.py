"""What the page reads, from a real ledger."""

from __future__ import annotations

import json
from random import Random

from sidecar.health.ledger import Ledger
from sidecar.ops.series import Series
from sidecar.ops.state import RecentEvents, StateView
from sidecar.policy.snapshot import Service, Url
from sidecar.terms import EndpointKey
from tests.telemetry.records import STARTED, rescued


def _view() -> StateView:
    ledger = Ledger(Random(1))
    url = Url("http", "h", 80, "", "h")
    ledger.configure({"primary": Service("primary", url), "backup": Service("backup", url)}, STARTED)
    ledger.set_endpoints("primary", ["10.0.0.1:80", "10.0.0.2:80"], STARTED)
    ledger.set_endpoints("backup", ["10.0.0.3:80"], STARTED)
    ledger.eject(EndpointKey("primary", "10.0.0.1:80"), 30.0, STARTED)
    series = Series()
    series.request_finished(rescued())
    now = STARTED + 5.0
    return StateView(
        version="1.2",
        tasks=lambda: 3,
        started_at=STARTED,
        clock=lambda: now,
        wall_time=lambda: "2026-01-31T12:00:00.123Z",
        not_ready=lambda: None,
        policy_generation=lambda: 7,
        statuses=lambda: ledger.statuses(now),
        cooling=lambda: ledger.cooling(),
        active_requests=lambda: {"primary": 3},
        series=series,
        events=RecentEvents(),
    )


def test_services_hold_their_endpoints_with_state_reason_and_what_is_left_of_it() -> None:
    """The page has no clock in common with the process."""
    state = json.loads(json.dumps(_view().read()))
    primary, backup = state["services"]
    assert (primary["name"], primary["active_requests"]) == ("primary", 3)
    assert (backup["name"], backup["active_requests"]) == ("backup", 0)
    ejected, available = primary["endpoints"]
    assert (ejected["endpoint"], ejected["state"], ejected["reason"]) == ("10.0.0.1:80", "ejected", "manual")
    assert ejected["until_seconds"] == 25.0
    assert not ejected["available"]
    assert (ejected["concurrency_limit"], ejected["ghosts"]) == (None, 0)
    assert (available["state"], available["until_seconds"]) == ("available", None)


def test_the_whole_is_told() -> None:
    """One request a second has to be enough for the page."""
    state = _view().read()
    assert (state["version"], state["uptime_seconds"], state["policy_generation"]) == ("1.2", 5.0, 7)
    assert state["tasks"] == 3
    assert (state["not_ready"], state["time"]) == (None, "2026-01-31T12:00:00.123Z")
    assert isinstance(state["series"], dict)
    assert state["series"].keys() == {"primary", "backup"}


def test_events_are_the_last_ones_newest_first() -> None:
    """Bounded: an endpoint may flap for days."""
    events = RecentEvents(capacity=2)
    for number in range(3):
        events.add({"event": "policy_applied", "generation": number})
    assert [event["generation"] for event in events.read()] == [2, 1]
