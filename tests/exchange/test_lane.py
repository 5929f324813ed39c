"""What alike requests share, and what is remembered of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random

import pytest

from sidecar.exchange.clocks import Clocks
from sidecar.exchange.lane import LONGEST, Lane, lane_of
from sidecar.exchange.runtime import Runtime, Shared
from sidecar.health.ledger import Ledger
from sidecar.record import Attempts
from sidecar.telemetry.sinks import Sinks
from sidecar.wire.heads import RequestHead, parse_request_head
from tests.forms.stage import snapshot_of

POLICY = (
    "{services: [{name: a, url: http://127.0.0.1:9/v1}, {name: b, url: http://127.0.0.1:9/own, model: other}],"
    " routes: [{services: [a, b]}]}"
)


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    loop = asyncio.new_event_loop()
    rng = Random(1)
    nobody = Attempts(lambda _, __: None)
    shared = Shared(loop, Ledger(rng), rng, Clocks(loop), Sinks(()), nobody, lambda events: None)
    yield Runtime(shared, snapshot_of(POLICY, 1))
    loop.close()


def asked(path: str = "/v1/chat/completions", method: str = "POST") -> RequestHead:
    head = parse_request_head(f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    assert isinstance(head, RequestHead)
    return head


def used(runtime: Runtime, head: RequestHead, model: str) -> Lane:
    """As a request uses it that is tried on each service."""
    lane = lane_of(runtime, head, model, stream=False)
    assert lane is not None
    for leg in lane.legs:
        leg.front(head, None, None)
    return lane


def remembered(runtime: Runtime, head: RequestHead) -> int:
    """How many things that hold a name of the app's."""
    return len(runtime.lanes) + len(head.memo) + (runtime.last_lane is not None)


def test_requests_that_are_alike_share_a_lane(runtime: Runtime) -> None:
    head = asked()
    lane = used(runtime, head, "m")
    assert used(runtime, head, "m") is lane
    assert used(runtime, head, "other") is not lane
    assert used(runtime, head, "m") is lane
    assert used(runtime, asked(), "m") is lane


@pytest.mark.parametrize(
    ("method", "path", "model"),
    [
        ("POST", "/v1/chat/completions", "m" * (LONGEST + 1)),
        ("POST", "/v1/" + "p" * LONGEST, "m"),
        ("POST", "/v1/chat/completions?" + "q" * LONGEST, "m"),
        ("M" * LONGEST, "/v1/chat/completions", "m"),
        ("POST", "/v1/" + "p" * (LONGEST // 2), "m" * (LONGEST // 2)),
    ],
    ids=["model", "path", "query", "method", "all_together"],
)
def test_what_has_long_names_is_not_remembered(runtime: Runtime, method: str, path: str, model: str) -> None:
    """An app may write a model as long as a body, and another each time: some hundred of them would be gigabytes."""
    head = asked(path, method)
    lane = used(runtime, head, model)
    assert used(runtime, head, model) is not lane
    assert remembered(runtime, head) == 0
    assert [lane.model, *(leg.model for leg in lane.legs)] == [model, model, "other"]


def test_a_long_name_puts_out_nothing_that_is_remembered(runtime: Runtime) -> None:
    head = asked()
    lane = used(runtime, head, "m")
    before = remembered(runtime, head)
    used(runtime, head, "m" * (LONGEST + 1))
    assert remembered(runtime, head) == before
    assert used(runtime, head, "m") is lane


def test_a_long_name_is_asked_for_in_the_same_way(runtime: Runtime) -> None:
    head = asked()
    short, long = used(runtime, head, "m"), used(runtime, head, "m" * (LONGEST + 1))
    for one, other in zip(short.legs, long.legs, strict=True):
        assert one.front(head, None, None) == other.front(head, None, None)


def test_no_route_is_no_lane_however_long_the_name(runtime: Runtime) -> None:
    for model in ("m", "m" * (LONGEST + 1)):
        assert lane_of(runtime, asked("/elsewhere"), model, stream=False) is None
