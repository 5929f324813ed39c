"""Facts and states as messages."""

from __future__ import annotations

import pytest
from google.protobuf import json_format

from sidecar.admin.convert import endpoint_message, event_message
from sidecar.admin.facts import AttemptEnded, Fact, FellBack, Installed, Moment, Rejected, services_of
from sidecar.health import events
from sidecar.health.status import EndpointStatus
from sidecar.policy.problems import Problem
from tests.admin.parts import WALL, A

NOW = Moment(1000.0, WALL)
KEY: dict[str, object] = {"service": A.service, "endpoint": A.address}
TRACE = "0000000000000000000000000000abcd"
FACTS: list[tuple[Fact, str, dict[str, object]]] = [
    (
        events.Ejected(A, "failure_percentage", 62.5, 8, 2, 1060.0, True),
        "endpoint_ejected",
        {
            **KEY,
            "reason": "failure_percentage",
            "failure_percentage": 62.5,
            "requests": 8,
            "ejection_multiplier": 2,
            "until": "2027-01-15T08:01:00Z",
            "duration": "60s",
            "enforced": True,
        },
    ),
    (events.Ejected(A, "manual", 0, 0, 1, None, True), "endpoint_ejected",
     {**KEY, "reason": "manual", "ejection_multiplier": 1, "enforced": True}),
    (events.Returned(A, "ejection_ended"), "endpoint_returned", {**KEY, "reason": "ejection_ended"}),
    (events.Probation(A, 1), "endpoint_probation", {**KEY, "requests": 1}),
    (events.ProbeChanged(A, True, "passed"), "probe_changed", {**KEY, "healthy": True, "reason": "passed"}),
    (events.ServiceUnavailable("s", "ejected"), "service_unavailable", {"service": "s", "reason": "ejected"}),
    (events.ServiceRecovered("s"), "service_recovered", {"service": "s"}),
    (events.EndpointAdded(A), "endpoint_added", KEY),
    (events.EndpointRemoved(A), "endpoint_removed", KEY),
    (
        FellBack("a", "b", "first_packet_timeout", "req-1", 0xABCD),
        "fallback",
        {"from": "a", "to": "b", "reason": "first_packet_timeout", "request_id": "req-1", "trace_id": TRACE},
    ),
    (
        AttemptEnded(*A, "req-1", 0xABCD, 2, "success", 0.12, 3.5),
        "attempt_finished",
        {**KEY, "request_id": "req-1", "trace_id": TRACE, "attempt": 2, "outcome": "success",
         "first_packet": "0.120s", "duration": "3.500s"},
    ),
    (Installed(7, "api", "c"), "policy_applied", {"generation": "7", "source": "api", "comment": "c"}),
    (
        Rejected("file", (Problem("policy.services", "is empty; expected at least one service", 3),)),
        "policy_rejected",
        {"source": "file", "problems": [
            {"field": "policy.services", "description": "is empty; expected at least one service", "line": 3}
        ]},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fact", "name", "fields"), FACTS, ids=lambda value: getattr(value, "reason", None))
def test_every_fact_has_its_message_and_its_name(fact: Fact, name: str, fields: dict[str, object]) -> None:
    """A stream that names an event wrongly, or drops a field, misleads whoever acts on it."""
    message = json_format.MessageToDict(event_message(5, NOW, fact), preserving_proto_field_name=True)
    assert message == {"sequence": "5", "time": "2027-01-15T08:00:00Z", "type": name, name: fields}


def test_a_policy_concerns_everybody_and_a_fallback_both_of_its_services() -> None:
    """A watcher of one service wants to know when traffic leaves it and when it comes in."""
    assert services_of(Installed(1, "file", "")) == ()
    assert services_of(FellBack("a", "b", "reset", "", 1)) == ("a", "b")
    assert services_of(events.EndpointAdded(A)) == (A.service,)


@pytest.mark.parametrize("state", ["available", "ejected", "probation", "ramp", "probe_failed", "cooling"])
def test_every_state_of_the_ledger_has_its_word_in_the_schema(state: str) -> None:
    """The words are written in two places; this is where they meet."""
    status = EndpointStatus(A.service, A.address, state, False, "reset", 1030.0, 1, 8, 5, 62.5, 3, 1, 995.0)
    message = endpoint_message(status, NOW)
    assert json_format.MessageToDict(message, preserving_proto_field_name=True) == {
        **KEY,
        "state": f"ENDPOINT_STATE_{state.upper()}",
        "reason": "reset",
        "until": "2027-01-15T08:00:30Z",
        "in_flight": 1,
        "requests": 8,
        "failures": 5,
        "failure_percentage": 62.5,
        "consecutive_failures": 3,
        "ejection_multiplier": 1,
        "since": "2027-01-15T07:59:55Z",
    }


def test_a_moment_without_an_end_has_no_timestamp() -> None:
    """An absent `until` says that only a person or a probe ends it; 1970 would say that it is over."""
    status = EndpointStatus(A.service, A.address, "ejected", False, "manual", None, 0, 0, 0, 0, 0, 0, 999.0)
    assert not endpoint_message(status, NOW).HasField("until")
