"""Spans as made from a record."""

from __future__ import annotations

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from sidecar.failure import Failure, FailureKind
from sidecar.record import RequestRecord
from sidecar.telemetry.spans import spans_of
from tests.telemetry.records import LATE, WALL, attempt, request, rescued

RESOURCE = Resource({"service.name": "test"})


def _spans(record: RequestRecord) -> tuple[ReadableSpan, list[ReadableSpan]]:
    server, *clients = spans_of(record, RESOURCE)
    return server, clients


def _attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def test_one_server_span_and_one_client_span_an_attempt_under_it() -> None:
    """Never more, never fewer; ids are those that were sent along."""
    server, clients = _spans(rescued())
    assert server.kind is SpanKind.SERVER
    assert server.context.span_id == 0x77
    assert [client.kind for client in clients] == [SpanKind.CLIENT] * 2
    assert [client.context.span_id for client in clients] == [0x1001, 0x1002]
    assert {span.context.trace_id for span in (server, *clients)} == {0xABC}
    assert all(client.parent is not None and client.parent.span_id == 0x77 for client in clients)


def test_a_refused_request_has_a_server_span_alone() -> None:
    """No attempt was made."""
    record = request(failure=Failure(FailureKind.DRAINING))
    record.attempts = []
    assert len(spans_of(record, RESOURCE)) == 1


def test_a_rescued_request_is_no_error_but_its_failed_attempt_is() -> None:
    """Alerts on errors must not ring for what the app never saw."""
    server, (first, second) = _spans(rescued())
    assert server.status.status_code is StatusCode.UNSET
    assert "error.type" not in _attributes(server)
    assert first.status.status_code is StatusCode.ERROR
    assert _attributes(first)["error.type"] == "first_packet_timeout"
    assert second.status.status_code is StatusCode.UNSET


def test_a_failed_request_is_an_error() -> None:
    """The app saw it."""
    server, _ = _spans(request(attempt(failure=LATE), failure=LATE))
    assert server.status.status_code is StatusCode.ERROR
    assert _attributes(server)["error.type"] == "first_packet_timeout"
    assert _attributes(server)["http.response.status_code"] == 504


def test_an_app_that_hung_up_made_no_error() -> None:
    """Users close their windows."""
    dropped = attempt()
    dropped.dropped = True
    server, (client,) = _spans(request(dropped, failure=Failure(FailureKind.APP_WENT_AWAY)))
    assert server.status.status_code is StatusCode.UNSET
    assert _attributes(server)["error.type"] == "app_went_away"
    assert client.status.status_code is StatusCode.UNSET
    assert _attributes(client)["sidecar.outcome"] == "cancelled"


def test_the_server_span_speaks_the_http_conventions() -> None:
    """Any backend's HTTP views work."""
    server, _ = _spans(rescued())
    assert server.name == "POST /v1"
    assert _attributes(server) == {
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
    attributes = _attributes(second)
    assert abs(float(str(attributes.pop("gen_ai.response.time_to_first_chunk"))) - 0.1) < 1e-6
    assert attributes == {
        "http.request.method": "POST",
        "http.request.resend_count": 1,
        "http.response.status_code": 200,
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
    assert not {name for name in _attributes(first) if "usage" in name or "resend" in name}


def test_a_unix_endpoint_has_an_address_and_no_port() -> None:
    """As the conventions have it."""
    _, (client,) = _spans(request(attempt(endpoint="unix:/run/vllm.sock")))
    attributes = _attributes(client)
    assert (attributes["server.address"], attributes["network.transport"]) == ("/run/vllm.sock", "unix")
    assert "server.port" not in attributes


def test_a_path_that_is_no_inference_has_no_gen_ai_attributes() -> None:
    """GET /v1/models generates nothing."""
    record = request()
    record.method, record.shape, record.model = "GET", "other", None
    _, (client,) = _spans(record)
    assert client.name == "GET"
    assert not {name for name in _attributes(client) if name.startswith("gen_ai.")}


def test_a_made_up_method_does_not_make_up_span_names() -> None:
    """Names are for grouping."""
    record = request()
    record.method, record.shape = "BREW", "other"
    server, (client,) = _spans(record)
    assert (server.name, client.name) == ("HTTP /v1", "HTTP")
    assert _attributes(server)["http.request.method"] == "_OTHER"


def test_times_are_those_of_the_record() -> None:
    """Attempts lie within their request, the first packet within its attempt."""
    server, (first, second) = _spans(rescued())
    assert (server.start_time, server.end_time) == (WALL, WALL + 1_000_000_000)
    assert (first.start_time, first.end_time) == (WALL, WALL + 200_000_000)
    assert (second.start_time, second.end_time) == (WALL + 200_000_000, WALL + 1_000_000_000)
    (event,) = second.events
    assert event.name == "first_packet"
    assert abs(event.timestamp - (WALL + 300_000_000)) < 1000
    assert not first.events


def test_an_incoming_trace_is_continued() -> None:
    """With its state, under the app's own span."""
    record = rescued()
    record.parent_span, record.tracestate = b"%016x" % 0x99, "vendor=1,other=2"
    server, clients = _spans(record)
    assert server.parent is not None
    assert (server.parent.span_id, server.parent.is_remote) == (0x99, True)
    assert all(span.context.trace_state.to_header() == "vendor=1,other=2" for span in (server, *clients))


def test_without_one_the_request_is_the_root() -> None:
    """No parent is made up."""
    assert _spans(rescued())[0].parent is None
