"""Spans as made from a record."""

from __future__ import annotations

import tracemalloc
from binascii import hexlify

import pytest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, SpanFlags, Status

from sidecar.failure import Failure, FailureKind
from sidecar.record import RequestRecord
from sidecar.telemetry import spans
from sidecar.telemetry.spans import describe, request_of
from tests.telemetry.attributes import attributes_of
from tests.telemetry.records import LATE, WALL, attempt, request, rescued


def _spans(record: RequestRecord) -> tuple[Span, list[Span]]:
    server, *clients = _all_spans(record)
    return server, clients


def _all_spans(*records: RequestRecord) -> list[Span]:
    (resource,) = request_of(records, Resource()).resource_spans
    (scope,) = resource.scope_spans
    assert scope.scope.name == "sidecar"
    return list(scope.spans)


def test_one_server_span_and_one_client_span_an_attempt_under_it() -> None:
    """Never more, never fewer; ids are those that were sent along."""
    server, clients = _spans(rescued())
    assert server.kind == Span.SPAN_KIND_SERVER
    assert hexlify(server.span_id) == b"%016x" % 0x77
    assert [client.kind for client in clients] == [Span.SPAN_KIND_CLIENT] * 2
    assert [int.from_bytes(client.span_id) for client in clients] == [0x1001, 0x1002]
    assert {span.trace_id for span in (server, *clients)} == {(0xABC).to_bytes(16)}
    assert all(client.parent_span_id == server.span_id for client in clients)


def test_of_what_an_app_may_make_as_long_as_it_likes_a_part_is_kept() -> None:
    """What alike spans share is remembered, and a body may bear a model of 16 MiB."""
    made = request()
    made.model, made.path = "m" * 100_000, "/v1/" + "p" * 60_000
    _spans(made)
    tracemalloc.start()
    try:
        for number in range(32):
            made.model, made.path = f"{number}{'m' * 100_000}", f"/v1/{number}{'p' * 60_000}"
            server, (client,) = _spans(made)
        assert attributes_of(server)["gen_ai.request.model"] == f"31{'m' * 254}"
        assert attributes_of(client)["gen_ai.request.model"] == f"31{'m' * 254}"
        assert attributes_of(server)["url.path"] == f"/v1/31{'p' * 1018}"
        assert tracemalloc.get_traced_memory()[0] < 500_000
    finally:
        tracemalloc.stop()


def test_a_refused_request_has_a_server_span_alone() -> None:
    """No attempt was made."""
    record = request(failure=Failure(FailureKind.DRAINING))
    record.attempts = []
    assert len(_all_spans(record)) == 1


def test_a_rescued_request_is_no_error_but_its_failed_attempt_is() -> None:
    """Alerts on errors must not ring for what the app never saw."""
    server, (first, second) = _spans(rescued())
    assert server.status.code == Status.STATUS_CODE_UNSET
    assert "error.type" not in attributes_of(server)
    assert first.status.code == Status.STATUS_CODE_ERROR
    assert attributes_of(first)["error.type"] == "first_packet_timeout"
    assert second.status.code == Status.STATUS_CODE_UNSET


def test_a_failed_request_is_an_error() -> None:
    """The app saw it."""
    server, _ = _spans(request(attempt(failure=LATE), failure=LATE))
    assert server.status.code == Status.STATUS_CODE_ERROR
    assert attributes_of(server)["error.type"] == "first_packet_timeout"
    assert attributes_of(server)["http.response.status_code"] == 504


def test_an_app_that_hung_up_made_no_error() -> None:
    """Users close their windows."""
    dropped = attempt()
    dropped.dropped = True
    server, (client,) = _spans(request(dropped, failure=Failure(FailureKind.APP_WENT_AWAY)))
    assert server.status.code == Status.STATUS_CODE_UNSET
    assert attributes_of(server)["error.type"] == "app_went_away"
    assert client.status.code == Status.STATUS_CODE_UNSET
    assert attributes_of(client)["sidecar.outcome"] == "cancelled"


def test_the_server_span_speaks_the_http_conventions() -> None:
    """Any backend's HTTP views work."""
    server, _ = _spans(rescued())
    assert server.name == "POST /v1"
    assert attributes_of(server) == {
        "http.request.method": "POST",
        "http.route": "/v1",
        "http.response.status_code": 200,
        "url.path": "/v1/chat/completions",
        "url.scheme": "http",
        "gen_ai.request.model": "gpt-4o",
        "sidecar.request_id": "0000000000000077",
        "sidecar.route": "/v1#0",
        "sidecar.service": "backup",
        "sidecar.attempts": 2,
    }


def test_the_client_span_speaks_the_gen_ai_conventions() -> None:
    """Any backend's LLM views work; tokens are on the attempt that answered."""
    record = rescued()
    record.attempts[1].model = "qwen-plus"
    record.prompt_tokens, record.completion_tokens = 12, 30
    _, (first, second) = _spans(record)
    assert second.name == "chat qwen-plus"
    attributes = attributes_of(second)
    assert abs(float(str(attributes.pop("gen_ai.response.time_to_first_chunk"))) - 0.1) < 1e-6
    assert attributes == {
        "http.request.method": "POST",
        "http.request.resend_count": 1,
        "http.response.status_code": 200,
        "url.full": "https://backup.example/v1/chat/completions",
        "server.address": "10.0.0.2",
        "server.port": 443,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "qwen-plus",
        "gen_ai.request.stream": True,
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 30,
        "sidecar.service": "backup",
        "sidecar.endpoint": "10.0.0.2:443",
        "sidecar.attempt": 2,
        "sidecar.outcome": "success",
        "sidecar.fallback_reason": "first_packet_timeout",
    }
    assert not {name for name in attributes_of(first) if "usage" in name or "resend" in name}


def test_a_unix_endpoint_has_an_address_and_no_port() -> None:
    """As the conventions have it."""
    _, (client,) = _spans(request(attempt(endpoint="unix:/run/vllm.sock")))
    attributes = attributes_of(client)
    assert (attributes["server.address"], attributes["network.transport"]) == ("/run/vllm.sock", "unix")
    assert "server.port" not in attributes


def test_a_path_that_is_no_inference_has_no_gen_ai_attributes() -> None:
    """GET /v1/models generates nothing."""
    record = request()
    record.method, record.shape, record.model = "GET", "other", None
    _, (client,) = _spans(record)
    assert client.name == "GET"
    assert not {name for name in attributes_of(client) if name.startswith("gen_ai.")}


def test_a_made_up_method_does_not_make_up_span_names() -> None:
    """Names are for grouping."""
    record = request()
    record.method, record.shape = "BREW", "other"
    server, (client,) = _spans(record)
    assert (server.name, client.name) == ("HTTP /v1", "HTTP")
    assert attributes_of(server)["http.request.method"] == "_OTHER"


def test_times_are_those_of_the_record() -> None:
    """Attempts lie within their request, the first packet within its attempt."""
    server, (first, second) = _spans(rescued())
    assert (server.start_time_unix_nano, server.end_time_unix_nano) == (WALL, WALL + 1_000_000_000)
    assert (first.start_time_unix_nano, first.end_time_unix_nano) == (WALL, WALL + 200_000_000)
    assert (second.start_time_unix_nano, second.end_time_unix_nano) == (
        WALL + 200_000_000,
        WALL + 1_000_000_000,
    )
    (event,) = second.events
    assert event.name == "first_packet"
    assert abs(event.time_unix_nano - (WALL + 300_000_000)) < 1000
    assert not first.events


def test_an_incoming_trace_is_continued() -> None:
    """With its state, under the app's own span."""
    record = rescued()
    record.parent_span, record.tracestate = b"%016x" % 0x99, "vendor=1,other=2"
    server, clients = _spans(record)
    assert server.parent_span_id == (0x99).to_bytes(8)
    assert server.flags & SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
    assert not any(client.flags & SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK for client in clients)
    assert all(span.flags & SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK for span in (server, *clients))
    assert all(span.trace_state == "vendor=1,other=2" for span in (server, *clients))


def test_a_trace_state_that_is_none_is_left_out() -> None:
    """A collector that checks it would refuse the batch."""
    record = rescued()
    record.parent_span, record.tracestate = b"%016x" % 0x99, "no state at all"
    assert {span.trace_state for span in _all_spans(record)} == {""}


def test_without_one_the_request_is_the_root() -> None:
    """No parent is made up."""
    server, _ = _spans(rescued())
    assert not server.parent_span_id
    assert not server.flags & SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK


def _unlike() -> list[RequestRecord]:
    """No two of them have the same spans, though they differ in little."""
    value: object
    made = [rescued(), request(failure=LATE), request(failure=Failure(FailureKind.APP_WENT_AWAY))]
    for name, value in (
        *(
            ("method", "GET"),
            ("path", "/v1/models"),
            ("route", "/v1#1"),
            ("route", ""),
            ("shape", "messages"),
        ),
        *(("shape", "other"), ("model", "m"), ("model", None), ("stream", False), ("service", "backup")),
        *(
            ("status", 201),
            ("attempts", []),
            ("answered", None),
            ("prompt_tokens", 3),
            ("completion_tokens", 0),
        ),
    ):
        record = request()
        record.prompt_tokens = 2
        setattr(record, name, value)
        made.append(record)
    for name, value in (
        *(("number", 2), ("service", "backup"), ("endpoint", "unix:/a"), ("model", "m"), ("status", 201)),
        *(("reason", "overloaded"), ("failure", LATE), ("dropped", True), ("first_packet_at", None)),
    ):
        record = request()
        setattr(record.attempts[0], name, value)
        made.append(record)
    return made


def test_what_alike_requests_share_is_never_that_of_another() -> None:
    """It is remembered: whoever was described before leaves no trace in who comes after."""
    alone = []
    for record in _unlike():
        for remembered in (spans._request_like, spans._attempt_like):
            remembered.cache_clear()
        alone.append(b"".join(span.SerializeToString(deterministic=True) for span in _all_spans(record)))
    assert len(set(alone)) == len(alone)
    together = b"".join(
        span.SerializeToString(deterministic=True) for span in _all_spans(*_unlike(), *_unlike())
    )
    assert together == b"".join(alone) * 2


def test_a_resource_is_described_with_all_that_it_may_bear() -> None:
    """Detectors of the environment add lists, too."""
    said: dict[str, object] = {"text": "t", "count": 3, "share": 0.5, "true": True, "list": ["a", "b"]}
    resource = Resource()
    describe(resource, said)
    assert attributes_of(resource) == said
    with pytest.raises(TypeError, match="an attribute is of bytes; expected"):
        describe(resource, {"raw": b"1"})
