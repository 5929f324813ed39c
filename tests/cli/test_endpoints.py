"""Rules of `sidecar endpoints`, `sidecar eject` and `sidecar restore`."""

from __future__ import annotations

import json

from tests.cli.terminal import sidecar
from tests.client.daemon import Daemon


def test_endpoints_are_a_plain_table_when_piped(daemon: Daemon) -> None:
    """No colour codes for grep to stumble over."""
    daemon.endpoints[0].reason = "healthy"
    told = sidecar("endpoints")
    assert told.code == 0
    assert told.lines == [
        "SERVICE      ENDPOINT       STATE      IN FLIGHT  REQUESTS  FAILED  UNTIL  REASON",
        "self-hosted  10.0.0.7:8000  available  0          0         0       -      healthy",
        "bailian      api:443        available  0          0         0       -",
    ]


def test_endpoints_as_json_are_complete(daemon: Daemon) -> None:
    """A program tests `available`, also where it is false."""
    daemon.endpoints[0].available = False
    told = json.loads(sidecar("endpoints", "--json").out)
    assert [(e["service"], e["available"], e["in_flight"]) for e in told] == [
        ("self-hosted", False, 0),
        ("bailian", True, 0),
    ]


def test_endpoints_of_some_services_only(daemon: Daemon) -> None:
    """A pod with many of them."""
    assert [
        e["endpoint"] for e in json.loads(sidecar("endpoints", "--json", "--services", "bailian").out)
    ] == ["api:443"]


def test_an_endpoint_is_ejected_for_a_time(daemon: Daemon) -> None:
    """In the durations of the config file."""
    told = sidecar("eject", "bailian", "api:443", "--for", "1m30s")
    assert told.code == 0
    assert daemon.asked_last().duration.seconds == 90
    assert told.out.startswith("bailian api:443 is ejected until 20")


def test_an_endpoint_is_ejected_until_it_is_restored(daemon: Daemon) -> None:
    """Without a time none is sent."""
    assert sidecar("eject", "bailian", "api:443").out == "bailian api:443 is ejected until it is restored\n"
    assert not daemon.asked_last().HasField("duration")
    assert not daemon.endpoints[1].available
    assert sidecar("restore", "bailian", "api:443").out == "bailian api:443 is available\n"
    assert daemon.endpoints[1].available


def test_what_was_done_can_be_had_as_json(daemon: Daemon) -> None:
    """For scripts that go on from there."""
    assert json.loads(sidecar("eject", "bailian", "api:443", "--json").out)["state"] == "ejected"
    assert json.loads(sidecar("restore", "bailian", "api:443", "--json").out)["state"] == "available"


def test_an_unknown_endpoint_exits_with_1_in_the_daemons_words(daemon: Daemon) -> None:
    """It is the daemon that knows."""
    told = sidecar("restore", "bailian", "nowhere:1")
    assert (told.code, told.out) == (1, "")
    assert told.err == "sidecar: no endpoint nowhere:1 in bailian\n"


def test_a_duration_that_is_none_exits_with_2(daemon: Daemon) -> None:
    """With one that would do."""
    told = sidecar("eject", "bailian", "api:443", "--for", "5")
    assert told.code == 2
    assert "expected one such as 200ms" in told.err
    assert daemon.asked == []


def test_what_the_daemon_calls_bad_exits_with_2(daemon: Daemon) -> None:
    """One line a problem."""
    told = sidecar("eject", "bailian", "api:443", "--for", "0s")
    assert (told.code, told.err) == (2, "sidecar: duration: is 0s; expected more\n")
