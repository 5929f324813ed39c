"""Rules of `sidecar events`."""

from __future__ import annotations

import json

import grpc

from tests.cli.terminal import sidecar
from tests.client.daemon import END, Daemon, Script
from tests.client.messages import event, recovered


def test_each_event_is_a_line_that_ends_with_its_number(daemon: Daemon) -> None:
    """The number is what --after takes."""
    daemon.scripts = [Script([event(10, "snapshot"), recovered(11)])]
    told = sidecar("events", "--count", "2")
    assert told.code == 0
    assert [line.split()[1] for line in told.lines] == ["snapshot", "service_recovered"]
    assert [line.split()[-1] for line in told.lines] == ["#10", "#11"]


def test_json_is_one_object_a_line(daemon: Daemon) -> None:
    """Field names are those of the schema."""
    daemon.scripts = [Script([event(10, "snapshot"), recovered(11)])]
    objects = [json.loads(line) for line in sidecar("events", "--json", "--count", "2").lines]
    assert [(o["type"], o["sequence"]) for o in objects] == [("snapshot", 10), ("service_recovered", 11)]
    assert objects[0]["snapshot"] == {"endpoints": [], "policy_generation": 0, "cooling": []}


def test_a_lost_connection_is_told_on_stderr_and_resumed(daemon: Daemon) -> None:
    """Standard output stays clean for the next program."""
    daemon.scripts = [
        Script([recovered(11)], END),
        Script([event(0, "gap", first_missed=12, last_missed=14)], grpc.StatusCode.UNAVAILABLE),
        Script([recovered(15)]),
    ]
    told = sidecar("events", "--after", "10", "--services", "a", "b", "--attempts", "--count", "3")
    assert [line.split()[1] for line in told.lines] == ["service_recovered", "gap", "service_recovered"]
    assert "events 12 to 14 missed" in told.lines[1]
    assert [request.after_sequence for request in daemon.asked] == [10, 11, 14]
    assert all(list(r.services) == ["a", "b"] and r.include_attempts for r in daemon.asked)
    assert told.err.count("connection lost") == 2
    assert told.code == 0


def test_a_watch_that_is_refused_exits_with_1(daemon: Daemon) -> None:
    """Once, in one line."""
    daemon.scripts = [Script([], grpc.StatusCode.PERMISSION_DENIED)]
    told = sidecar("events")
    assert (told.code, told.out, told.err) == (1, "", "sidecar: so the script says\n")


def test_one_request_can_be_followed_by_its_id(daemon: Daemon) -> None:
    """From the header of an answer to the reason for it; what concerns no request is left out."""
    mine = event(3, "fallback", **{"from": "own", "to": "vendor", "reason": "unhealthy", "request_id": "r1"})
    other = event(4, "fallback", request_id="r2")
    ended = event(5, "attempt_finished", request_id="r1", outcome="success")
    daemon.scripts = [Script([event(1, "snapshot"), recovered(2), mine, other, ended])]
    told = sidecar("events", "--after", "1", "--request", "r1", "--attempts", "--count", "2")
    assert [line.split()[1] for line in told.lines] == ["fallback", "attempt_finished"]
    assert "own -> vendor: unhealthy (request r1)" in told.lines[0]
