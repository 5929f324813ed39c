"""Changes of state in words."""

from __future__ import annotations

import json

import pytest

from sidecar.health.events import (
    Ejected,
    EndpointAdded,
    EndpointRemoved,
    HealthEvent,
    Probation,
    ProbeChanged,
    Returned,
    ScopeCooled,
    ServiceRecovered,
    ServiceUnavailable,
)
from sidecar.telemetry.changes import Changes, Fields
from sidecar.telemetry.walltime import WallTime
from sidecar.terms import EndpointKey
from tests.telemetry.records import WALL

KEY = EndpointKey("primary", "10.0.0.1:8000")


def _told(event: HealthEvent) -> Fields:
    heard: list[Fields] = []
    clock = WallTime(wall=lambda: WALL, monotonic=lambda: 1000.0)
    Changes(clock, [heard.append]).health_events([event])
    (fields,) = heard
    json.dumps(fields)
    return fields


def test_an_ejection_says_why_and_until_when() -> None:
    """The line of the log that an operator looks for."""
    assert _told(Ejected(KEY, "failure_percentage", 66.666, 12, 2, 1060.0, True)) == {
        "time": "2026-01-01T00:00:00.000Z",
        "event": "endpoint_ejected",
        "service": "primary",
        "endpoint": "10.0.0.1:8000",
        "reason": "failure_percentage",
        "failure_percentage": 66.7,
        "requests": 12,
        "ejection_multiplier": 2,
        "until": "2026-01-01T00:01:00.000Z",
        "enforced": True,
    }


def test_an_ejection_without_an_end_has_none() -> None:
    """By hand, until it is restored."""
    assert _told(Ejected(KEY, "manual", 0.0, 0, 1, None, True))["until"] is None


@pytest.mark.parametrize("enforced", [True, False])
def test_what_is_left_alone_is_told_with_its_reason_and_whether_it_really_is(enforced: bool) -> None:
    """With `enforce: false` it is only reported."""
    told = _told(ScopeCooled("primary", "credential", "env KEY", "auth", 1060.0, enforced))
    assert told.pop("time")
    assert told == {
        "event": "scope_cooled",
        "service": "primary",
        "scope": "credential",
        "name": "env KEY",
        "reason": "auth",
        "until": "2026-01-01T00:01:00.000Z",
        "enforced": enforced,
    }


@pytest.mark.parametrize(
    ("event", "name", "fields"),
    [
        (Returned(KEY, "probation_passed"), "endpoint_returned", {"reason": "probation_passed"}),
        (Probation(KEY, 1), "endpoint_probation", {"requests": 1}),
        (ProbeChanged(KEY, False, "status 503"), "probe_changed", {"healthy": False, "reason": "status 503"}),
        (EndpointAdded(KEY), "endpoint_added", {}),
        (EndpointRemoved(KEY), "endpoint_removed", {}),
    ],
)
def test_an_endpoint_is_named_by_service_and_address(
    event: HealthEvent, name: str, fields: dict[str, object]
) -> None:
    """The names are those of the admin stream."""
    told = _told(event)
    assert told.pop("time")
    assert told == {"event": name, "service": "primary", "endpoint": "10.0.0.1:8000", **fields}


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (ServiceUnavailable("primary", "all endpoints are out"), "service_unavailable"),
        (ServiceRecovered("primary"), "service_recovered"),
    ],
)
def test_a_service_is_named_by_itself(event: HealthEvent, name: str) -> None:
    """No single endpoint stands for it."""
    told = _told(event)
    assert (told["event"], told["service"]) == (name, "primary")
    assert "endpoint" not in told


def test_every_listener_hears_everything_in_order() -> None:
    """The log and the page tell the same story."""
    log: list[Fields] = []
    page: list[Fields] = []
    changes = Changes(WallTime(), [log.append, page.append])
    changes.state("policy_applied", generation=2, source="file")
    changes.health_events([EndpointAdded(KEY), EndpointRemoved(KEY)])
    assert log == page
    assert [fields["event"] for fields in log] == ["policy_applied", "endpoint_added", "endpoint_removed"]
