"""What is in rotation and yet not tried now, at its limit or left alone, as everybody who shows endpoints has it."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from llmsidecar.v1 import health_pb2 as pb

from sidecar.health.limit import START
from tests.cli.terminal import sidecar
from tests.itest.stage import config, llm, until

from .admin import health
from .llm import CHAT, json_answer, silence
from .process import Process, running
from .sidecar import chat, service


@contextmanager
def at_its_limit(folder: Path) -> Iterator[Process]:
    """`busy` has as many silent requests in flight as its limit allows at first; `spare` answers at once."""
    with ExitStack() as stack:
        busy, spare = stack.enter_context(llm(silence)), stack.enter_context(llm(json_answer(CHAT)))
        written = config(folder, service("busy", busy), service("spare", spare))
        process = stack.enter_context(running(written, folder))
        host, _, port = process.listen[1].rpartition(":")
        for _ in range(int(START)):
            app = stack.enter_context(socket.create_connection((host, int(port))))
            app.sendall(chat(stream=True))
        until("all are in flight", lambda: len(busy.received) == START)
        yield process


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with at_its_limit(tmp_path_factory.mktemp("full")) as process:
        yield process


def test_what_comes_now_goes_elsewhere(full: Process) -> None:
    """Or the rest would show what is not so."""
    answer = ask(full)
    assert answer.headers["x-sidecar-service"] == "spare"
    [attempt] = full.wait_for("request")["attempts"]
    assert (attempt["service"], attempt["reason"]) == ("spare", "overloaded")


def test_the_api_lists_it_as_not_available_in_the_state_it_is_in(full: Process) -> None:
    with health(full.admin[0]) as stub:
        busy, spare = stub.ListEndpoints(pb.ListEndpointsRequest()).endpoints
    assert (busy.state, busy.available, busy.reason) == (pb.ENDPOINT_STATE_AVAILABLE, False, "overloaded")
    assert (busy.in_flight, busy.concurrency_limit) == (START, START)
    assert (spare.available, spare.reason) == (True, "")


def test_the_command_line_calls_it_at_its_limit(full: Process) -> None:
    """Wherever an endpoint has a row; and the forecast passes it over for that reason."""
    admin = ("--admin", full.admin[0])
    for command in (["endpoints"], ["top", "--plain", "--count", "1"]):
        assert "at its limit  16 of 16" in sidecar(*command, *admin).out, command
    explained = json.loads(sidecar("explain", "--json", *admin).out)
    assert [attempt["service"] for attempt in explained["attempts"]] == ["spare"]
    [busy] = explained["not_tried"]
    assert (busy["service"], busy["reason"]) == ("busy", "at its adaptive limit: 16 of 16 in flight")


def test_the_page_is_told_of_the_limit(full: Process) -> None:
    state = httpx.get(f"http://{full.ops[0]}/api/state").json()
    [busy] = state["services"][0]["endpoints"]
    shown = {name: busy[name] for name in ("state", "available", "reason", "in_flight", "concurrency_limit")}
    assert shown == {
        "state": "available",
        "available": False,
        "reason": "overloaded",
        "in_flight": START,
        "concurrency_limit": START,
    }


def test_to_prometheus_it_is_in_rotation_and_has_its_limit(full: Process) -> None:
    """An alert on endpoints that are out must not fire when a limit does its work."""
    text = httpx.get(f"http://{full.ops[0]}/metrics").text
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    [available] = [
        v for k, v in figures.items() if k.startswith("sidecar_endpoint_available") and '"busy"' in k
    ]
    [limit] = [v for k, v in figures.items() if k.startswith("sidecar_concurrency_limit") and '"busy"' in k]
    assert (float(available), float(limit), float(figures['sidecar_active_requests{service="busy"}'])) == (
        1.0,
        START,
        START,
    )


@contextmanager
def some_left_alone(folder: Path) -> Iterator[Process]:
    """`limited` has said 429 to the only key, `gone` lacks the model; `spare` answers."""
    limited_now = json_answer({"error": {"message": "slow down"}}, 429, "retry-after: 50\r\n")
    no_model = json_answer({"error": {"code": "model_not_found", "message": "no model m"}}, 404)
    with llm(limited_now) as limited, llm(no_model) as gone, llm(json_answer(CHAT)) as spare:
        written = config(
            folder,
            service("limited", limited, credential={"bearer": {"env": "SHOWN_KEY"}}),
            service("gone", gone),
            service("spare", spare),
            route={"fallback_on": ["429", "404"]},
        )
        with running(written, folder, SHOWN_KEY="k") as process:
            ask(process)
            yield process


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with some_left_alone(tmp_path_factory.mktemp("alone")) as process:
        yield process


def ask(process: Process) -> httpx.Response:
    return httpx.post(f"http://{process.listen[1]}/v1/chat/completions", json={"model": "m", "messages": []})


ALONE = [
    ("limited", "credential", "env SHOWN_KEY", "rate_limited"),
    ("gone", "model", "m", "model_not_found"),
]


def test_what_is_left_alone_gets_nothing(left_alone: Process) -> None:
    answer = ask(left_alone)
    assert (answer.headers["x-sidecar-service"], answer.headers["x-sidecar-attempts"]) == ("spare", "1")


def test_the_api_lists_what_is_left_alone_beside_the_endpoints(left_alone: Process) -> None:
    with health(left_alone.admin[0]) as stub:
        everything = stub.ListEndpoints(pb.ListEndpointsRequest()).cooling
        of_one = stub.ListEndpoints(pb.ListEndpointsRequest(services=["gone"])).cooling
    assert [(s.service, s.scope, s.name, s.reason) for s in everything] == ALONE
    assert [s.service for s in of_one] == ["gone"]


def test_the_command_line_tells_what_is_left_alone_and_why_it_is_not_tried(left_alone: Process) -> None:
    """An endpoint that is `available` and gets nothing is a riddle."""
    admin = ("--admin", left_alone.admin[0])
    for command in (["endpoints"], ["top", "--plain", "--count", "1"]):
        shown = sidecar(*command, *admin).out
        for row in ALONE:
            assert re.search(r" +".join(map(re.escape, row[:3])) + rf" +in \d+s +{row[3]}", shown), command
    listed = json.loads(sidecar("endpoints", "--json", *admin).out)
    assert [[s["reason"] for s in endpoint["left_alone"]] for endpoint in listed] == [
        ["rate_limited"],
        ["model_not_found"],
        [],
    ]

    def explained(model: str) -> tuple[list[str], dict[str, str]]:
        told = json.loads(sidecar("explain", "--model", model, "--json", *admin).out)
        return [a["service"] for a in told["attempts"]], {
            s["service"]: s["reason"] for s in told["not_tried"]
        }

    tried, others = explained("m")
    assert tried == ["spare"]
    assert re.fullmatch(r"left alone: rate_limited, for [1-5]?\ds more", others["limited"])
    assert others["gone"].startswith("left alone: model_not_found, for ")
    assert explained("another")[0][0] == "gone", "the model alone is not there"


def test_the_page_is_told_what_is_left_alone(left_alone: Process) -> None:
    state = httpx.get(f"http://{left_alone.ops[0]}/api/state").json()
    told = [
        (service["name"], scope["scope"], scope["name"], scope["reason"])
        for service in state["services"]
        for scope in service["left_alone"]
    ]
    assert told == ALONE
    assert 0 < state["services"][0]["left_alone"][0]["until_seconds"] <= 50
