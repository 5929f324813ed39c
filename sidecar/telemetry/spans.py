"""Spans made from the record of a finished request: one SERVER span, one CLIENT span an attempt under it.

In:      a RequestRecord after its end; the resource that all spans share.
Out:     ReadableSpans, the SERVER span first; ids and times are those of the record.
Units:   Unix nanoseconds, from the record's one pair of wall and monotonic time.
Names:   HTTP conventions (stable) on both kinds; GenAI conventions on the attempts, with the token usage on
         the one that answered only, so that summing over spans counts each token once.
         `error.type` is the failure's code. Status ERROR: an attempt that failed; a request whose failure
         the app saw. A rescued request and an app that hung up are no errors.
Note:    imports the OpenTelemetry SDK: only the exporting thread loads this module.
"""

from __future__ import annotations

from functools import lru_cache

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.util.types import AttributeValue

from sidecar.failure import FailureKind
from sidecar.record import AttemptRecord, RequestRecord
from sidecar.terms import BadAddress, TcpAddress, parse_address

_SCOPE = InstrumentationScope("sidecar")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNSET = Status(StatusCode.UNSET)
_ERROR = Status(StatusCode.ERROR)

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"))
# What the conventions call an operation, by the shape of the request.
_OPERATIONS = {
    "chat": "chat",
    "messages": "chat",
    "responses": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
}
_MAX_TEXT = 256  # of a model or method: the app may send any length

Attributes = dict[str, AttributeValue]


def spans_of(record: RequestRecord, resource: Resource) -> list[ReadableSpan]:
    state = TraceState.from_header([record.tracestate]) if record.tracestate else TraceState()
    server = SpanContext(
        record.trace_id, record.span_id, is_remote=False, trace_flags=_SAMPLED, trace_state=state
    )
    spans = [_server_span(record, server, resource)]
    for attempt in record.attempts:
        spans.append(_client_span(record, attempt, server, resource))
    return spans


def _server_span(record: RequestRecord, context: SpanContext, resource: Resource) -> ReadableSpan:
    method = _method(record)
    prefix = record.route.partition("#")[0]
    attributes: Attributes = {
        "http.request.method": method,
        "url.path": record.path,
        "url.scheme": "http",
        "sidecar.request_id": record.request_id,
        "sidecar.attempts": len(record.attempts),
    }
    if prefix:
        attributes["http.route"] = prefix
        attributes["sidecar.route"] = record.route
    if record.status:
        attributes["http.response.status_code"] = record.status
    if record.service:
        attributes["sidecar.service"] = record.service
    if record.model is not None:
        attributes["gen_ai.request.model"] = record.model[:_MAX_TEXT]
    failure = record.failure
    if failure is not None:
        attributes["error.type"] = failure.code
    seen = failure is not None and failure.kind is not FailureKind.APP_WENT_AWAY
    return ReadableSpan(
        name=f"{_name_of(method)} {prefix}".rstrip(),
        context=context,
        parent=_remote_parent(record, context),
        resource=resource,
        attributes=attributes,
        kind=SpanKind.SERVER,
        status=_ERROR if seen else _UNSET,
        start_time=record.started_wall,
        end_time=_wall(record, record.ended_at),
        instrumentation_scope=_SCOPE,
    )


def _client_span(
    record: RequestRecord, attempt: AttemptRecord, parent: SpanContext, resource: Resource
) -> ReadableSpan:
    operation = _OPERATIONS.get(record.shape)
    model = attempt.model or record.model
    attributes = _attempt_attributes(record, attempt)
    if operation is None:
        name = _name_of(_method(record))
    else:
        attributes |= _gen_ai_attributes(record, attempt, operation, model)
        name = f"{operation} {model[:_MAX_TEXT]}" if model else operation
    events = []
    if attempt.first_packet_at is not None:
        events.append(Event("first_packet", timestamp=_wall(record, attempt.first_packet_at)))
    return ReadableSpan(
        name=name,
        context=SpanContext(
            record.trace_id,
            attempt.span_id,
            is_remote=False,
            trace_flags=_SAMPLED,
            trace_state=parent.trace_state,
        ),
        parent=parent,
        resource=resource,
        attributes=attributes,
        events=events,
        kind=SpanKind.CLIENT,
        status=_UNSET if attempt.failure is None else _ERROR,
        start_time=_wall(record, attempt.started_at),
        end_time=_wall(record, record.ended_at if attempt.ended_at is None else attempt.ended_at),
        instrumentation_scope=_SCOPE,
    )


def _attempt_attributes(record: RequestRecord, attempt: AttemptRecord) -> Attributes:
    attributes: Attributes = {
        "http.request.method": _method(record),
        "sidecar.service": attempt.service,
        "sidecar.endpoint": attempt.endpoint,
        "sidecar.attempt": attempt.number,
        "sidecar.outcome": attempt.outcome,
        **_server_of(attempt.endpoint),
    }
    if attempt.number > 1:
        attributes["http.request.resend_count"] = attempt.number - 1
    if attempt.status is not None:
        attributes["http.response.status_code"] = attempt.status
    if attempt.failure is not None:
        attributes["error.type"] = attempt.failure.code
    if attempt.reason is not None:
        attributes["sidecar.fallback_reason"] = attempt.reason
    return attributes


def _gen_ai_attributes(
    record: RequestRecord, attempt: AttemptRecord, operation: str, model: str | None
) -> Attributes:
    attributes: Attributes = {
        "gen_ai.operation.name": operation,
        # By the conventions, whose API is spoken where it is not known who stands behind it.
        "gen_ai.provider.name": "anthropic" if record.shape == "messages" else "openai",
    }
    if model:
        attributes["gen_ai.request.model"] = model[:_MAX_TEXT]
    if record.stream:
        attributes["gen_ai.request.stream"] = True
        if attempt.first_packet_at is not None:
            attributes["gen_ai.response.time_to_first_chunk"] = attempt.first_packet_at - attempt.started_at
    if attempt is record.answered:
        if record.prompt_tokens is not None:
            attributes["gen_ai.usage.input_tokens"] = record.prompt_tokens
        if record.completion_tokens is not None:
            attributes["gen_ai.usage.output_tokens"] = record.completion_tokens
    return attributes


def _remote_parent(record: RequestRecord, context: SpanContext) -> SpanContext | None:
    if record.parent_span_id is None:
        return None
    return SpanContext(
        record.trace_id,
        record.parent_span_id,
        is_remote=True,
        trace_flags=_SAMPLED,
        trace_state=context.trace_state,
    )


def _wall(record: RequestRecord, moment: float | None) -> int:
    since = 0.0 if moment is None else moment - record.started_at
    return record.started_wall + round(since * 1e9)


def _method(record: RequestRecord) -> str:
    return record.method if record.method in _METHODS else "_OTHER"


def _name_of(method: str) -> str:
    """In a span's name an unknown method is `HTTP`, so that an app cannot make up names."""
    return "HTTP" if method == "_OTHER" else method


@lru_cache(maxsize=256)
def _server_of(endpoint: str) -> Attributes:
    try:
        address = parse_address(endpoint)
    except BadAddress:
        return {"server.address": endpoint}
    if isinstance(address, TcpAddress):
        return {"server.address": address.host, "server.port": address.port}
    return {"server.address": address.path, "network.transport": "unix"}
