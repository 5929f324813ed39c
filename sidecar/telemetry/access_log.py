"""The log: one JSON line a request and one a change of state, on stdout.

In:      finished requests (Sink) and changes as sidecar.telemetry.changes words them.
Out:     lines through a bounded buffer; what stdout does not take is dropped and counted, never waited for.
Units:   `*_ms` are milliseconds; `time` is the moment the line is about: for a request, its end.
Rule:    a line is made of ids, names, numbers and codes: no header, no prompt, no `Failure.detail` (services
         quote prompts and keys in their errors). Text from outside is cut to a length and escaped by JSON.
Cost:    about 5 µs a request with one attempt. The line is put together by hand, since json.dumps of the
         same fields takes three times as long.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii as quote

from sidecar.record import AttemptRecord, RequestRecord
from sidecar.telemetry.changes import Fields
from sidecar.telemetry.lines import Lines
from sidecar.telemetry.walltime import WallTime

_MAX_PATH = 1024
_MAX_NAME = 256
_REQUEST = (
    '{"time": "%s", "event": "request", "request_id": %s, "trace_id": "%032x", "span_id": "%016x", "route": %s, '
    '"method": %s, "path": %s, "model": %s, "stream": %s, "status": %d, "failure": %s, "service": %s, '
    '"attempts": [%s], "duration_ms": %.1f, "bytes_in": %d, "bytes_out": %d, "input_tokens": %s, '
    '"output_tokens": %s, "generation": %d}\n'
)
_ATTEMPT = (
    '{"n": %d, "service": %s, "endpoint": %s, "outcome": %s, "reason": %s, "status": %s, "connect_ms": %s, '
    '"first_packet_ms": %s, "duration_ms": %s, "reused": %s}'
)


class AccessLog:
    def __init__(self, lines: Lines, clock: WallTime) -> None:
        self._lines = lines
        self._clock = clock

    def request_finished(self, record: RequestRecord) -> None:
        self._lines.add(self._request_line(record).encode("ascii"))

    def change(self, fields: Fields) -> None:
        """A listener of Changes."""
        self._lines.add(json.dumps(fields, default=str).encode("ascii") + b"\n")

    def _request_line(self, record: RequestRecord) -> str:
        started = record.started_at
        ended = started if record.ended_at is None else record.ended_at
        time = self._clock.text(record.started_wall + int((ended - started) * 1e9))
        model = "null" if record.model is None else quote(record.model[:_MAX_NAME])
        failure = "null" if record.failure is None else quote(record.failure.code)
        attempts = ", ".join([_attempt(attempt) for attempt in record.attempts])
        return _REQUEST % (
            time,
            quote(record.request_id),
            record.trace_id,
            record.span_id,
            quote(record.route),
            quote(record.method[:_MAX_NAME]),
            quote(record.path[:_MAX_PATH]),
            model,
            "true" if record.stream else "false",
            record.status,
            failure,
            quote(record.service),
            attempts,
            (ended - started) * 1e3,
            record.body_bytes,
            record.bytes_out,
            _number(record.prompt_tokens),
            _number(record.completion_tokens),
            record.generation,
        )


def _attempt(attempt: AttemptRecord) -> str:
    started = attempt.started_at
    reason = "null" if attempt.reason is None else quote(attempt.reason)
    return _ATTEMPT % (
        attempt.number,
        quote(attempt.service),
        quote(attempt.endpoint),
        quote(attempt.outcome),
        reason,
        _number(attempt.status),
        _since(started, attempt.connected_at),
        _since(started, attempt.first_packet_at),
        _since(started, attempt.ended_at),
        "true" if attempt.reused else "false",
    )


def _since(start: float, moment: float | None) -> str:
    return "null" if moment is None else "%.1f" % ((moment - start) * 1e3)


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)
