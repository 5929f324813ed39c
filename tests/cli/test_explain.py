"""Rules of `sidecar explain`: what is printed and how it ends; what is foretold is tested in test_forecast."""

from __future__ import annotations

import json

import pytest
from llmsidecar.v1 import health_pb2 as pb

from tests.cli.terminal import sidecar
from tests.client.daemon import Daemon


@pytest.fixture
def surged(daemon: Daemon) -> Daemon:
    """The primary is out, the fallback has another model name."""
    daemon.policy.services.add(name="bailian", url="https://api/v1", model="qwen-plus")
    daemon.policy.routes[0].services.append("bailian")
    out = daemon.endpoints[0]
    out.state, out.available, out.reason = pb.ENDPOINT_STATE_EJECTED, False, "failure_percentage"
    return daemon


def test_order_and_reasons_are_two_tables(surged: Daemon) -> None:
    """Piped: without colours."""
    told = sidecar("explain", "--model", "gpt-4o")
    assert (told.code, told.err) == (0, "")
    assert told.lines == [
        "/v1/chat/completions, model gpt-4o: route /v1#0, policy generation 1",
        "",
        "Tried now, if each attempt ended with first_packet_timeout",
        "  #  SERVICE  ENDPOINT  WHY        HOW",
        "  1  bailian  api:443   unhealthy  first packet within 30s, as model qwen-plus",
        "  then: the last one is not cut for lateness: nothing better is left",
        "",
        "Not tried",
        "  SERVICE      ENDPOINT       WHY NOT",
        "  self-hosted  10.0.0.7:8000  ejected: failure_percentage, until a probe or an operator brings it back",
    ]


def test_programs_get_all_of_it(surged: Daemon) -> None:
    """By the same words."""
    told = json.loads(sidecar("explain", "--model", "m", "--header", "X-Team=a", "--json").out)
    assert told["request"] == {"path": "/v1/chat/completions", "model": "m", "headers": {"x-team": "a"}}
    assert (told["route"], told["generation"], told["failing"]) == ("/v1#0", 1, "first_packet_timeout")
    assert [(a["service"], a["model"], a["first_packet_seconds"]) for a in told["attempts"]] == [
        ("bailian", "qwen-plus", 30.0)
    ]
    assert told["not_tried"][0]["endpoint"] == "10.0.0.7:8000"


def test_a_request_that_no_route_takes_exits_with_1(daemon: Daemon) -> None:
    """A script can ask before it deploys."""
    told = sidecar("explain", "--path", "/v2/x?y=1")
    assert told.code == 1
    assert told.lines[0] == "/v2/x, no model: no route, policy generation 1"
    assert told.lines[-1] == "  /v1#0  path /v2/x is not under /v1"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--failing", "tired"], "expected a status such as 503, or connect_failure"),
        (["--header", "x-team"], "expected NAME=VALUE"),
        (["--path", "v1"], "expected one such as /v1/chat/completions"),
    ],
)
def test_bad_usage_says_what_was_expected(daemon: Daemon, arguments: list[str], expected: str) -> None:
    """And asks nobody."""
    told = sidecar("explain", *arguments)
    assert told.code == 2
    assert expected in told.err


@pytest.mark.parametrize(("how", "attempts"), [("5xx", 2), ("503", 2), ("auth", 1)])
def test_how_the_attempts_fail_can_be_chosen(daemon: Daemon, how: str, attempts: int) -> None:
    """A 5xx is tried again in the service, a refused key is not."""
    assert len(json.loads(sidecar("explain", "--failing", how, "--json").out)["attempts"]) == attempts
