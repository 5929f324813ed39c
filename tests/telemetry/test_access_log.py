"""The lines as a log pipeline reads them."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sidecar.failure import Failure, FailureKind
from sidecar.record import RequestRecord
from sidecar.telemetry.access_log import AccessLog
from sidecar.telemetry.lines import Lines
from sidecar.telemetry.output import Output
from sidecar.telemetry.walltime import WallTime
from tests.telemetry.records import LATE, STARTED, attempt, request, rescued


def _written(write: Callable[[AccessLog], None]) -> bytes:
    async def run() -> bytes:
        reading, writing = os.pipe()
        lines = Lines(Output(writing), asyncio.get_running_loop())
        write(AccessLog(lines, WallTime()))
        lines.close()
        os.close(writing)
        with os.fdopen(reading, "rb") as written:
            return written.read()

    return asyncio.run(run())


def _line(write: Callable[[AccessLog], None]) -> dict[str, Any]:
    text = _written(write)
    assert text.endswith(b"\n")
    assert text.count(b"\n") == 1
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def test_a_rescued_request_is_one_line_that_tells_the_whole_story() -> None:
    """Which service, after what, how long, how much."""
    record = rescued()
    record.body_bytes, record.bytes_out = 120, 3400
    record.prompt_tokens, record.completion_tokens, record.generation = 12, 30, 5
    record.attempts[1].connected_at = record.attempts[1].started_at + 0.002
    assert _line(lambda log: log.request_finished(record)) == {
        "time": "2026-01-01T00:00:01.000Z",
        "event": "request",
        "request_id": "0000000000000077",
        "trace_id": "00000000000000000000000000000abc",
        "span_id": "0000000000000077",
        "route": "/v1#0",
        "method": "POST",
        "path": "/v1/chat/completions",
        "model": "gpt-4o",
        "stream": True,
        "status": 200,
        "failure": None,
        "service": "backup",
        "attempts": [
            {
                "n": 1,
                "service": "primary",
                "endpoint": "10.0.0.1:8000",
                "outcome": "first_packet_timeout",
                "reason": None,
                "status": None,
                "connect_ms": None,
                "first_packet_ms": None,
                "duration_ms": 200.0,
                "reused": False,
            },
            {
                "n": 2,
                "service": "backup",
                "endpoint": "10.0.0.2:443",
                "outcome": "success",
                "reason": "first_packet_timeout",
                "status": 200,
                "connect_ms": 2.0,
                "first_packet_ms": 100.0,
                "duration_ms": 800.0,
                "reused": False,
            },
        ],
        "duration_ms": 1000.0,
        "bytes_in": 120,
        "bytes_out": 3400,
        "input_tokens": 12,
        "output_tokens": 30,
        "generation": 5,
    }


def test_a_request_that_was_refused_has_no_attempts() -> None:
    """It leaves its line all the same."""
    record = request(failure=Failure(FailureKind.DRAINING))
    record.attempts, record.model, record.status = [], None, 503
    line = _line(lambda log: log.request_finished(record))
    assert (line["attempts"], line["model"], line["failure"]) == ([], None, "draining")


@given(st.floats(-1e6, 1e6))
def test_times_are_told_to_a_tenth_of_a_millisecond(seconds: float) -> None:
    """Whatever the clocks did: a time before the start is a negative one."""
    made = attempt()
    made.ended_at = made.started_at + seconds
    took = made.ended_at - made.started_at
    text = _written(lambda log: log.request_finished(request(made)))
    shown = re.search(rb'"duration_ms": (-?[0-9]+\.[0-9]), "reused"', text)
    assert shown is not None
    assert abs(float(shown[1]) - took * 1e3) <= 0.051


@given(st.text(), st.text(), st.text(max_size=20))
def test_whatever_the_app_sends_stays_inside_its_string(path: str, model: str, method: str) -> None:
    """A newline in a path must not forge a second line."""
    record = request()
    record.path, record.model, record.method = path, model, method
    text = _written(lambda log: log.request_finished(record))
    assert text.count(b"\n") == 1
    assert text.isascii()
    assert not any(byte < 0x20 or byte == 0x7F for byte in text[:-1])
    line = json.loads(text)
    assert (line["path"], line["model"]) == (path[:1024], model[:256])


def _unlike() -> Iterator[RequestRecord]:
    """A record that is changed, each time in one thing that a line tells."""
    record, made = rescued(), attempt()
    record.attempts = [made]
    changes: tuple[tuple[object, str, object], ...] = (
        (record, "route", "/v1#1"),
        (record, "method", "GET"),
        (record, "path", "/" + "p" * 2000),
        (record, "path", "/v1/completions"),
        (record, "model", "m" * 2000),
        (record, "model", None),
        (record, "stream", False),
        (record, "status", 201),
        (record, "failure", LATE),
        (record, "failure", None),
        (record, "service", "primary"),
        (record, "generation", 2),
        (made, "number", 2),
        (made, "service", "backup"),
        (made, "endpoint", "10.0.0.2:443"),
        (made, "reason", "reset"),
        (made, "status", 404),
        (made, "failure", LATE),
        (made, "reused", True),
        (made, "connected_at", STARTED + 0.001),
    )
    yield record
    for changed, name, value in changes:
        setattr(changed, name, value)
        yield record


def test_a_line_does_not_depend_on_the_lines_before() -> None:
    """What it has in common with the last one is kept ready: it must be in common."""

    def twice_each(log: AccessLog) -> None:
        for record in _unlike():
            log.request_finished(record)
            log.request_finished(record)

    alone = [_written(partial(AccessLog.request_finished, record=record)) for record in _unlike()]
    assert len(set(alone)) == len(alone) - 1  # a failure that came and went
    assert _written(twice_each) == b"".join(line * 2 for line in alone)


def test_long_texts_are_cut() -> None:
    """A path of 60 KiB would fill the buffer with one request."""
    record = request()
    record.path = "/" + "p" * 60_000
    record.model = "m" * 60_000
    assert len(_written(lambda log: log.request_finished(record))) < 3000


def test_what_a_service_said_of_its_failure_is_not_logged() -> None:
    """Services quote prompts and keys in their errors."""
    canary = "sk-canary-3f9a"
    failure = Failure(FailureKind.IN_STREAM_ERROR, detail=f"Incorrect API key provided: {canary}")
    record = request(attempt(failure=failure), failure=failure)
    record.tracestate = f"vendor={canary}"
    text = _written(lambda log: log.request_finished(record))
    assert b"in_stream_error" in text
    assert canary.encode() not in text


def test_a_change_of_state_is_a_line_too() -> None:
    """One stream tells requests and what changed between them."""
    line = _line(lambda log: log.change({"time": "t", "event": "policy_rejected", "problems": ["a\nb"]}))
    assert line == {"time": "t", "event": "policy_rejected", "problems": ["a\nb"]}
