"""The log: one JSON line a request and one a change of state, on stdout.

In:      finished requests (Sink) and changes as sidecar.telemetry.changes words them.
Out:     lines through a bounded buffer; what stdout does not take is dropped and counted, never waited for.
Units:   `*_ms` are milliseconds; `time` is the moment the line is about: for a request, its end.
Rule:    a line is made of ids, names, numbers and codes: no header, no prompt, no `Failure.detail` (services
         quote prompts and keys in their errors). Text from outside is cut to a length and escaped by JSON.
Cost:    about 2 µs a request with one attempt. The line is put together by hand, of texts and whole numbers only:
         json.dumps of the same fields, and formats such as %016x, take several times as long.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii as quote
from typing import Final

from sidecar.record import AttemptRecord, RequestRecord, Sink
from sidecar.telemetry.changes import Fields
from sidecar.telemetry.lines import Lines
from sidecar.telemetry.walltime import WallTime

_MAX_PATH: Final = 1024
_MAX_NAME: Final = 256


class AccessLog(Sink):
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
        span = record.request_id
        return (
            f'{{"time": "{time}", "event": "request", "request_id": "{span}", '
            f'"trace_id": "{record.trace_id.to_bytes(16, "big").hex()}", "span_id": "{span}", '
            f'"route": {quote(record.route)}, "method": {quote(record.method[:_MAX_NAME])}, '
            f'"path": {quote(record.path[:_MAX_PATH])}, "model": {model}, '
            f'"stream": {"true" if record.stream else "false"}, "status": {record.status}, "failure": {failure}, '
            f'"service": {quote(record.service)}, "attempts": [{attempts}], "duration_ms": {_ms(ended - started)}, '
            f'"bytes_in": {record.body_bytes}, "bytes_out": {record.bytes_out}, '
            f'"input_tokens": {_number(record.prompt_tokens)}, "output_tokens": {_number(record.completion_tokens)}, '
            f'"generation": {record.generation}}}\n'
        )


def _attempt(attempt: AttemptRecord) -> str:
    started = attempt.started_at
    reason = "null" if attempt.reason is None else quote(attempt.reason)
    return (
        f'{{"n": {attempt.number}, "service": {quote(attempt.service)}, "endpoint": {quote(attempt.endpoint)}, '
        f'"outcome": {quote(attempt.outcome)}, "reason": {reason}, "status": {_number(attempt.status)}, '
        f'"connect_ms": {_since(started, attempt.connected_at)}, '
        f'"first_packet_ms": {_since(started, attempt.first_packet_at)}, '
        f'"duration_ms": {_since(started, attempt.ended_at)}, "reused": {"true" if attempt.reused else "false"}}}'
    )


def _since(start: float, moment: float | None) -> str:
    return "null" if moment is None else _ms(moment - start)


def _ms(seconds: float) -> str:
    """To a tenth of a millisecond; `%.1f` costs five times as much."""
    if seconds < 0.0:
        return "-" + _ms(-seconds)
    tenths = int(seconds * 1e4 + 0.5)
    return f"{tenths // 10}.{tenths % 10}"


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)
