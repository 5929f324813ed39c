"""Traces as Jaeger's query API tells them, in the words of OpenTelemetry.

In:      a running Jaeger.
Out:     server spans, then the others, in the order they started; each with kind, parent, attributes and events.
Limits:  the export comes a fraction of a second after the request, so a trace is waited for.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import httpx

from tests.itest.peers import Jaeger
from tests.itest.stage import until

HOUR = 3_600_000_000  # µs


@dataclass(frozen=True)
class Span:
    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: str
    is_error: bool
    attributes: dict[str, Any]
    events: dict[str, int]  # name: µs since the start of the span
    start: int  # µs, Unix time
    duration: int  # µs


@dataclass(frozen=True)
class Trace:
    spans: list[Span]
    text: str  # everything the store has of it

    def of_kind(self, kind: str) -> list[Span]:
        return [span for span in self.spans if span.kind == kind]


def wait_for_trace(jaeger: Jaeger, trace_id: str, spans: int) -> Trace:
    """The trace once it has that many spans; it may turn out to have more."""

    def look() -> Trace | None:
        trace = find(jaeger, trace_id)
        return trace if trace is not None and len(trace.spans) >= spans else None

    trace = until(f"{spans} spans of {trace_id}", look)
    assert trace is not None
    return trace


def find(jaeger: Jaeger, trace_id: str) -> Trace | None:
    """None: the store does not have it."""
    answer = httpx.get(f"{jaeger.query_url}/api/traces/{trace_id}")
    if answer.status_code == 404:
        return None
    [found] = answer.raise_for_status().json()["data"]
    return Trace(sorted(map(_span, found["spans"]), key=_order), answer.text)


def search(jaeger: Jaeger, **attributes: str) -> set[str]:
    """The ids of the sidecar's traces of the last hour with a span that has these attributes; `_` stands for `.`."""
    tags = json.dumps({name.replace("_", ".", 1): value for name, value in attributes.items()})
    now = time.time_ns() // 1000
    period = {"start": str(now - HOUR), "end": str(now)}
    query = {"service": "llm-ha-sidecar", "tags": tags, "limit": "1000", **period}
    answer = httpx.get(f"{jaeger.query_url}/api/traces", params=query).raise_for_status()
    return {trace["traceID"] for trace in answer.json()["data"]}


def _span(told: dict[str, Any]) -> Span:
    attributes = {tag["key"]: tag["value"] for tag in told["tags"]}
    parents = [r["spanID"] for r in told["references"] if r["refType"] == "CHILD_OF"]
    assert len(parents) <= 1
    return Span(
        trace_id=told["traceID"],
        span_id=told["spanID"],
        parent_id=parents[0] if parents else None,
        name=told["operationName"],
        kind=attributes.pop("span.kind"),
        is_error=attributes.pop("error", False),
        attributes=attributes,
        events={_event_name(log): log["timestamp"] - told["startTime"] for log in told["logs"]},
        start=told["startTime"],
        duration=told["duration"],
    )


def _order(span: Span) -> tuple[bool, int]:
    """A first attempt may begin in the same microsecond as its request."""
    return span.kind != "server", span.start


def _event_name(log: dict[str, Any]) -> str:
    return next(str(field["value"]) for field in log["fields"] if field["key"] == "event")
