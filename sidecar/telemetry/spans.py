"""Spans made from the record of a finished request: one SERVER span, one CLIENT span an attempt under it.

In:      RequestRecords after their end; the attributes of the resource that all spans share.
Out:     OTLP's own messages, the SERVER span first; ids and times are those of the record.
Units:   Unix nanoseconds, from the record's one pair of wall and monotonic time.
Names:   HTTP conventions (stable) on both kinds; GenAI conventions on the attempts, with the token usage on
         the one that answered only, so that summing over spans counts each token once.
         `error.type` is the failure's code. Status ERROR: an attempt that failed; a request whose failure
         the app saw. A rescued request and an app that hung up are no errors.
Cost:    4 us a span: what alike spans share is described once, and copied. See docs/adr/0010-spans-as-messages.md.
Note:    only the exporting thread loads this module, and with it OpenTelemetry.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Iterable, Mapping
from functools import lru_cache

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, SpanFlags, Status
from opentelemetry.trace import TraceState

from sidecar.failure import FailureKind
from sidecar.record import AttemptRecord, RequestRecord
from sidecar.terms import BadAddress, TcpAddress, parse_address

_SCOPE = InstrumentationScope(name="sidecar")
_OURS = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_FROM_THE_APP = _OURS | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"))
# What the conventions call an operation, by the shape of the request.
_OPERATIONS = {
    "chat": "chat",
    "messages": "chat",
    "responses": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
}
_MAX_TEXT = 256  # of a model, and
_MAX_URL = 1024  # of a path or URL: the app may send any length, and alike spans are kept
_ALIKE = 256  # kinds of spans that are remembered

Attributes = dict[str, str | bool | int | float]


def request_of(records: Iterable[RequestRecord], resource: Resource) -> ExportTraceServiceRequest:
    """What is sent of them."""
    made = ExportTraceServiceRequest()
    scope = made.resource_spans.add(resource=resource).scope_spans.add(scope=_SCOPE)
    for record in records:
        server = scope.spans.add()
        _server_span(server, record)
        for attempt in record.attempts:
            _client_span(scope.spans.add(), record, attempt, server)
    return made


def describe(what: Span | Resource, attributes: Mapping[str, object]) -> None:
    """Adds attributes."""
    add = what.attributes.add
    for key, value in attributes.items():
        _write(add(key=key).value, value)


def _write(place: AnyValue, value: object) -> None:
    if isinstance(value, str):
        place.string_value = value
    elif isinstance(value, bool):
        place.bool_value = value
    elif isinstance(value, int):
        place.int_value = value
    elif isinstance(value, float):
        place.double_value = value
    elif isinstance(value, list | tuple):  # of a resource
        for each in value:
            _write(place.array_value.values.add(), each)
    else:
        raise TypeError(f"an attribute is of {type(value).__name__}; expected text, numbers or truth values")


def _server_span(span: Span, record: RequestRecord) -> None:
    failure = record.failure
    span.CopyFrom(
        _request_like(
            _method(record),
            record.path[:_MAX_URL],
            record.route,
            record.service,
            record.status,
            _cut(record.model),
            len(record.attempts),
            None if failure is None else failure.code,
            failure is not None and failure.kind is not FailureKind.APP_WENT_AWAY,
        )
    )
    span.trace_id = unhexlify(record.trace)
    span.span_id = unhexlify(record.span)
    span.start_time_unix_nano = record.started_wall
    span.end_time_unix_nano = _wall(record, record.ended_at)
    if record.parent_span is not None:
        span.parent_span_id = unhexlify(record.parent_span)
        span.flags = _FROM_THE_APP
    if record.tracestate:
        span.trace_state = TraceState.from_header([record.tracestate]).to_header()  # empty if it is none
    describe(span, {"sidecar.request_id": record.request_id})


def _client_span(span: Span, record: RequestRecord, attempt: AttemptRecord, server: Span) -> None:
    span.CopyFrom(
        _attempt_like(
            _method(record),
            record.shape,
            attempt.url[:_MAX_URL],
            _cut(attempt.model or record.model),
            record.stream,
            attempt.service,
            attempt.endpoint,
            attempt.number,
            attempt.outcome,
            attempt.status,
            None if attempt.failure is None else attempt.failure.code,
            attempt.reason,
        )
    )
    span.trace_id = server.trace_id
    span.span_id = unhexlify(attempt.span)
    span.parent_span_id = server.span_id
    span.trace_state = server.trace_state
    span.start_time_unix_nano = _wall(record, attempt.started_at)
    span.end_time_unix_nano = _wall(record, record.ended_at if attempt.ended_at is None else attempt.ended_at)
    if attempt.first_packet_at is not None:
        span.events.add(name="first_packet", time_unix_nano=_wall(record, attempt.first_packet_at))
    if record.shape in _OPERATIONS:
        describe(span, _generation(record, attempt))


@lru_cache(_ALIKE)
def _request_like(
    method: str,
    path: str,
    route: str,
    service: str,
    status: int,
    model: str | None,
    attempts: int,
    code: str | None,
    seen: bool,
) -> Span:
    """What the SERVER spans of such requests share. `seen`: the app saw the failure of this code."""
    prefix = route.partition("#")[0]
    attributes: Attributes = {
        "http.request.method": method,
        "url.path": path,
        "url.scheme": "http",
        "sidecar.attempts": attempts,
    }
    if prefix:
        attributes["http.route"] = prefix
        attributes["sidecar.route"] = route
    if status:
        attributes["http.response.status_code"] = status
    if service:
        attributes["sidecar.service"] = service
    if model is not None:
        attributes["gen_ai.request.model"] = model
    name = f"{_name_of(method)} {prefix}".rstrip()
    return _like(name, Span.SPAN_KIND_SERVER, attributes, code, failed=seen)


@lru_cache(_ALIKE)
def _attempt_like(
    method: str,
    shape: str,
    url: str,
    model: str | None,
    stream: bool,
    service: str,
    endpoint: str,
    number: int,
    outcome: str,
    status: int | None,
    code: str | None,
    reason: str | None,
) -> Span:
    """What the CLIENT spans of such attempts share. `reason`: of the fallback to it."""
    attributes: Attributes = {
        "http.request.method": method,
        "url.full": url,
        "sidecar.service": service,
        "sidecar.endpoint": endpoint,
        "sidecar.attempt": number,
        "sidecar.outcome": outcome,
        **_server_of(endpoint),
    }
    if number > 1:
        attributes["http.request.resend_count"] = number - 1
    if status is not None:
        attributes["http.response.status_code"] = status
    if reason is not None:
        attributes["sidecar.fallback_reason"] = reason
    name, operation = _name_of(method), _OPERATIONS.get(shape)
    if operation is not None:
        name = operation
        attributes["gen_ai.operation.name"] = operation
        # By the conventions, whose API is spoken where it is not known who stands behind it.
        attributes["gen_ai.provider.name"] = "anthropic" if shape == "messages" else "openai"
        if model:
            name = f"{operation} {model}"
            attributes["gen_ai.request.model"] = model
        if stream:
            attributes["gen_ai.request.stream"] = True
    return _like(name, Span.SPAN_KIND_CLIENT, attributes, code, failed=code is not None)


def _like(
    name: str, kind: Span.SpanKind.ValueType, attributes: Attributes, code: str | None, *, failed: bool
) -> Span:
    span = Span(name=name, kind=kind, flags=_OURS)
    if failed:
        span.status.code = Status.STATUS_CODE_ERROR
    if code is not None:
        attributes["error.type"] = code
    describe(span, attributes)
    return span


def _generation(record: RequestRecord, attempt: AttemptRecord) -> Attributes:
    """What is known of this answer alone."""
    attributes: Attributes = {}
    if record.stream and attempt.first_packet_at is not None:
        attributes["gen_ai.response.time_to_first_chunk"] = attempt.first_packet_at - attempt.started_at
    if attempt is record.answered:
        if record.prompt_tokens is not None:
            attributes["gen_ai.usage.input_tokens"] = record.prompt_tokens
        if record.completion_tokens is not None:
            attributes["gen_ai.usage.output_tokens"] = record.completion_tokens
    return attributes


def _cut(model: str | None) -> str | None:
    return None if model is None else model[:_MAX_TEXT]


def _wall(record: RequestRecord, moment: float | None) -> int:
    since = 0.0 if moment is None else moment - record.started_at
    return record.started_wall + round(since * 1e9)


def _method(record: RequestRecord) -> str:
    return record.method if record.method in _METHODS else "_OTHER"


def _name_of(method: str) -> str:
    """In a span's name an unknown method is `HTTP`, so that an app cannot make up names."""
    return "HTTP" if method == "_OTHER" else method


def _server_of(endpoint: str) -> Attributes:
    try:
        address = parse_address(endpoint)
    except BadAddress:
        return {"server.address": endpoint}
    if isinstance(address, TcpAddress):
        return {"server.address": address.host, "server.port": address.port}
    return {"server.address": address.path, "network.transport": "unix"}
