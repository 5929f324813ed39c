"""Rules of sidecar.cli.plain."""

from __future__ import annotations

from llmsidecar.v1 import health_pb2, policy_pb2

from sidecar.cli.plain import plain
from tests.client.messages import endpoint, event, policy


def test_only_what_is_written_is_shown_in_the_order_of_the_schema() -> None:
    """Defaults stay with the daemon, whose version may fill in others."""
    assert plain(policy()) == {
        "services": [
            {"name": "self-hosted", "url": "http://127.0.0.1:8000/v1", "timeouts": {"first_packet": "200ms"}}
        ],
        "routes": [{"services": ["self-hosted"]}],
    }


def test_a_written_zero_and_an_empty_block_are_not_lost() -> None:
    """`retries_per_service: 0` and `active_health: {}` both mean something."""
    route = policy_pb2.Route(retries_per_service=0, cut_last=False)
    assert plain(route) == {"retries_per_service": 0, "cut_last": False}
    service = policy_pb2.Service(name="a")
    service.active_health.SetInParent()
    assert plain(service) == {"name": "a", "active_health": {}}


def test_maps_numbers_and_enums_come_in_the_form_of_the_config_file() -> None:
    """Whole floats without a point, enum values without their prefix."""
    service = policy_pb2.Service(models={"b": "2", "a": "1"})
    service.passive_health.ejection_jitter = 10.0
    assert plain(service) == {"models": {"a": "1", "b": "2"}, "passive_health": {"ejection_jitter": 10}}
    assert plain(endpoint())["state"] == "available"
    assert plain(endpoint(state=health_pb2.ENDPOINT_STATE_PROBE_FAILED))["state"] == "probe_failed"


def test_an_enum_value_of_a_newer_daemon_is_shown_as_its_number() -> None:
    """Better than nothing."""
    newer = health_pb2.Endpoint.FromString(
        health_pb2.Endpoint(state="ENDPOINT_STATE_RAMP").SerializeToString()
    )
    newer.MergeFromString(b"\x18\x63")  # field 3, value 99
    assert plain(newer)["state"] == 99


def test_complete_also_shows_zeros_but_nothing_that_is_absent() -> None:
    """A program wants `available: false`; a time that is not there is not a time."""
    shown = plain(health_pb2.Endpoint(service="a"), complete=True)
    assert shown["available"] is False
    assert shown["in_flight"] == 0
    assert "until" not in shown


def test_times_are_rfc_3339_and_sequences_are_numbers() -> None:
    """protobuf's own JSON writes 64-bit numbers as text."""
    shown = plain(event(7, "service_recovered", service="a"))
    assert shown == {
        "sequence": 7,
        "time": "2023-11-14T22:13:27Z",
        "type": "service_recovered",
        "service_recovered": {"service": "a"},
    }
