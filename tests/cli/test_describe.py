"""Rules of sidecar.cli.describe."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from llmsidecar.v1 import health_pb2

from sidecar.cli.describe import ENDPOINT_HEADER, endpoint_row, event_line, event_words, short_time
from sidecar.cli.table import Styled
from tests.client.messages import START, endpoint, event

NOW = datetime.fromtimestamp(START, UTC)
FULL = endpoint(in_flight=9, ghosts=2, concurrency_limit=12.8, reason="overloaded")
FULL.available = False
WORDS = [
    (
        event(1, "snapshot", policy_generation=4, endpoints=[endpoint(), health_pb2.Endpoint()]),
        "1 of 2 endpoints in rotation, policy generation 4",
    ),
    (
        event(1, "snapshot", policy_generation=4, endpoints=[endpoint(), FULL, FULL]),
        "3 of 3 endpoints in rotation (2 at their limits), policy generation 4",
    ),
    (
        event(1, "gap", first_missed=3, last_missed=9),
        "events 3 to 9 missed: the daemon no longer holds them",
    ),
    (event(1, "gap", attempts_missed=7), "7 attempts missed: the daemon no longer holds them"),
    (
        event(1, "gap", first_missed=3, last_missed=9, attempts_missed=7),
        "events 3 to 9 and 7 attempts missed: the daemon no longer holds them",
    ),
    (
        event(
            1,
            "endpoint_ejected",
            service="s",
            endpoint="e:1",
            reason="failure_percentage",
            failure_percentage=62.4,
            requests=21,
            ejection_multiplier=2,
            duration=Duration(seconds=60),
            enforced=True,
        ),
        "s e:1 for 1m00s: failure_percentage, 62 % of 21 failed, k=2",
    ),
    (
        event(1, "endpoint_ejected", service="s", endpoint="e:1", reason="manual"),
        "s e:1 until restored: manual (only reported: enforce is false)",
    ),
    (
        event(1, "endpoint_returned", service="s", endpoint="e:1", reason="ejection_ended"),
        "s e:1: ejection_ended",
    ),
    (
        event(1, "endpoint_probation", service="s", endpoint="e:1", requests=1),
        "s e:1: the next request decides",
    ),
    (
        event(1, "probe_changed", service="s", endpoint="e:1", healthy=False, reason="status 500"),
        "s e:1 is unhealthy: status 500",
    ),
    (
        event(1, "service_unavailable", service="s", reason="all ejected"),
        "s has no endpoint in rotation: all ejected",
    ),
    (event(1, "service_recovered", service="s"), "s is back"),
    (
        event(
            1, "fallback", **{"from": "s", "to": "t", "reason": "first_packet_timeout", "request_id": "r1"}
        ),
        "s -> t: first_packet_timeout (request r1)",
    ),
    (
        event(1, "policy_applied", generation=2, source="api", comment="slower"),
        "generation 2 from api: slower",
    ),
    (
        event(
            1,
            "policy_rejected",
            source="file",
            problems=[health_pb2.Problem(field="a", description="is bad")],
        ),
        "from file: a: is bad",
    ),
    (event(1, "endpoint_added", service="s", endpoint="e:1"), "s e:1"),
    (event(1, "endpoint_removed", service="s", endpoint="e:1"), "s e:1"),
    (
        event(
            1,
            "scope_cooled",
            service="s",
            scope="credential",
            name="env KEY",
            reason="auth",
            until=Timestamp(seconds=60),
            enforced=True,
        ),
        "s: credential env KEY is left alone until 00:01:00.000: auth",
    ),
    (event(1, "scope_returned", service="s", scope="model", name="m"), "s: model m may be used again"),
    (
        event(
            1,
            "attempt_finished",
            service="s",
            endpoint="e:1",
            request_id="r1",
            attempt=2,
            outcome="success",
            first_packet=Duration(nanos=85_000_000),
            duration=Duration(seconds=1, nanos=200_000_000),
        ),
        "s e:1 attempt 2: success, first packet 85ms, 1.20s in all (request r1)",
    ),
]


@pytest.mark.parametrize(("told", "words"), WORDS, ids=lambda value: getattr(value, "type", ""))
def test_each_event_is_told_in_one_line(told: health_pb2.HealthEvent, words: str) -> None:
    """With what an operator would ask next."""
    assert event_words(told) == words


def test_every_kind_of_event_has_words() -> None:
    """A kind that the schema gets later shows here."""
    kinds = {field.name for field in health_pb2.HealthEvent.DESCRIPTOR.oneofs_by_name["event"].fields}
    assert {told.WhichOneof("event") for told, _ in WORDS} == kinds


def test_an_event_of_a_newer_daemon_is_not_hidden() -> None:
    """It has a number and a type, if no words."""
    line = event_line(health_pb2.HealthEvent(sequence=7, type="moon_landed"), colour=False)
    assert "moon_landed" in line
    assert line.endswith("of a kind that this version does not know  #7")


def test_a_line_cannot_drive_the_terminal() -> None:
    """The reason may quote somebody's answer."""
    line = event_line(event(1, "service_unavailable", service="s", reason="\x1b[2J\nnext"), colour=False)
    assert "\\x1b[2J\\nnext" in line
    assert line.isprintable()


@pytest.mark.parametrize("state", [health_pb2.ENDPOINT_STATE_AVAILABLE, health_pb2.ENDPOINT_STATE_RAMP])
def test_an_endpoint_at_its_limit_is_not_called_available(state: health_pb2.EndpointState) -> None:
    """Nor out: it works, and what comes now goes elsewhere. Requests that were given up may keep it busy, too."""
    full = health_pb2.Endpoint()
    full.CopyFrom(FULL)
    full.state = state
    shown = dict(zip(ENDPOINT_HEADER, endpoint_row(full, NOW), strict=True))
    assert (shown["STATE"], shown["IN FLIGHT"]) == (Styled("at its limit", "warn"), "9+2 of 12")
    full.available = True
    assert endpoint_row(full, NOW)[2] != shown["STATE"]


def test_an_endpoint_shows_its_state_and_how_long_it_stays_out() -> None:
    """Relative: nobody subtracts times in an incident."""
    out = endpoint(
        state=health_pb2.ENDPOINT_STATE_EJECTED,
        requests=8,
        failures=4,
        failure_percentage=50,
        reason="manual",
    )
    out.until.FromSeconds(START + 30)
    assert endpoint_row(out, NOW)[2:] == [
        Styled("ejected", "bad"),
        "0",
        "8",
        "4 (50 %)",
        "in 30s",
        "manual",
    ]
    assert endpoint_row(endpoint(), NOW)[2:] == [Styled("available", "good"), "0", "0", "0", "-", ""]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.085, "85ms"),
        (0.9998, "1.00s"),
        (1.2, "1.20s"),
        (59.9998, "1m00s"),
        (245, "4m05s"),
        (299.9998, "5m00s"),
    ],
)
def test_times_are_short(seconds: float, text: str) -> None:
    """Three digits are enough to see; an ejection for 5m is told a moment later, and is still one for 5m."""
    assert short_time(seconds) == text
