"""The log: one JSON line a request and one a change of state, on stdout.

In:      finished requests (Sink) and changes as sidecar.telemetry.changes words them.
Out:     lines through a bounded buffer; what stdout does not take is dropped and counted, never waited for.
Units:   `*_ms` are milliseconds; `time` is the moment the line is about: for a request, its end.
Rule:    a line is made of ids, names, numbers and codes: no header, no prompt, no `Failure.detail` (services
         quote prompts and keys in their errors). Text from outside is cut to a length and escaped by JSON.
Cost:    compiled, 0.6 µs a request with one attempt. The line is put together by hand, of bytes and whole numbers only:
         json.dumps of the same fields, and formats such as %016x, take several times as long. What it has in common
         with the last one of its service, and of its endpoint, is kept ready.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii
from typing import Final

from sidecar.record import AttemptRecord, RequestRecord, Sink
from sidecar.telemetry.changes import Fields
from sidecar.telemetry.lines import Lines
from sidecar.telemetry.walltime import WallTime

quote: Final = encode_basestring_ascii

_MAX_PATH: Final = 1024
_MAX_NAME: Final = 256
_MAX_KEPT: Final = 256  # services, and endpoints, of whose last line parts are kept
_TENTHS: Final = [b".%d" % tenth for tenth in range(10)]


class _Requests:
    """What the lines of requests that one service answered, or none, and that are alike in this have in common."""

    __slots__ = (
        "generation",
        "last_words",
        "method",
        "model",
        "path",
        "route",
        "status",
        "stream",
        "words",
    )

    def __init__(self, record: RequestRecord) -> None:
        self.route = record.route
        self.method = record.method
        self.path = record.path
        self.model = record.model
        self.stream = record.stream
        self.status = record.status
        self.generation = record.generation
        model = "null" if record.model is None else quote(record.model[:_MAX_NAME])
        failure = "null" if record.failure is None else quote(record.failure.code)
        self.words = (
            f'", "route": {quote(record.route)}, "method": {quote(record.method[:_MAX_NAME])}, '
            f'"path": {quote(record.path[:_MAX_PATH])}, "model": {model}, '
            f'"stream": {"true" if record.stream else "false"}, "status": {record.status}, "failure": {failure}, '
            f'"service": {quote(record.service)}, "attempts": ['
        ).encode("ascii")
        self.last_words = b', "generation": %d}\n' % record.generation

    def has(self, record: RequestRecord) -> bool:
        return (
            self.status == record.status
            and self.stream == record.stream
            and self.generation == record.generation
            and self.route == record.route
            and self.method == record.method
            and self.path == record.path
            and self.model == record.model
            and record.failure is None
        )


class _Attempts:
    """What attempts at one endpoint that are alike in this have in common."""

    __slots__ = ("number", "outcome", "reason", "service", "status", "words")

    def __init__(self, attempt: AttemptRecord) -> None:
        self.number = attempt.number
        self.service = attempt.service
        self.outcome = attempt.outcome
        self.reason = attempt.reason
        self.status = attempt.status
        reason = "null" if attempt.reason is None else quote(attempt.reason)
        self.words = (
            f'{{"n": {attempt.number}, "service": {quote(attempt.service)}, '
            f'"endpoint": {quote(attempt.endpoint)}, "outcome": {quote(attempt.outcome)}, '
            f'"reason": {reason}, "status": {"null" if attempt.status is None else attempt.status}, "connect_ms": '
        ).encode("ascii")

    def has(self, attempt: AttemptRecord) -> bool:
        return (
            self.number == attempt.number
            and self.service == attempt.service
            and self.outcome == attempt.outcome
            and self.reason == attempt.reason
            and self.status == attempt.status
        )


class AccessLog(Sink):
    def __init__(self, lines: Lines, clock: WallTime) -> None:
        self._lines = lines
        self._clock = clock
        self._last_requests: dict[str, _Requests] = {}  # by service
        self._last_attempts: dict[str, _Attempts] = {}  # by the endpoint's address

    def request_finished(self, record: RequestRecord) -> None:
        self._lines.add(self._request_line(record))

    def change(self, fields: Fields) -> None:
        """A listener of Changes."""
        self._lines.add(json.dumps(fields, default=str).encode("ascii") + b"\n")

    def _request_line(self, record: RequestRecord) -> bytes:
        started = record.started_at
        ended = started if record.ended_at is None else record.ended_at
        time = self._clock.ascii(record.started_wall + int((ended - started) * 1e9))
        like = self._requests_like(record)
        if len(record.attempts) == 1:
            attempts = self._attempt(record.attempts[0])
        else:
            attempts = b", ".join([self._attempt(attempt) for attempt in record.attempts])
        return (
            b'{"time": "%b", "event": "request", "request_id": "%b", "trace_id": "%b", "span_id": "%b'
            b'%b%b], "duration_ms": %b, "bytes_in": %d, "bytes_out": %d, "input_tokens": %b, "output_tokens": %b%b'
        ) % (
            time,
            record.span,
            record.trace,
            record.span,
            like.words,
            attempts,
            _ms(ended - started),
            record.body_bytes,
            record.bytes_out,
            _number(record.prompt_tokens),
            _number(record.completion_tokens),
            like.last_words,
        )

    def _attempt(self, attempt: AttemptRecord) -> bytes:
        started = attempt.started_at
        return b'%b%b, "first_packet_ms": %b, "duration_ms": %b, "reused": %b}' % (
            self._attempts_like(attempt).words,
            _since(started, attempt.connected_at),
            _since(started, attempt.first_packet_at),
            _since(started, attempt.ended_at),
            b"true" if attempt.reused else b"false",
        )

    def _requests_like(self, record: RequestRecord) -> _Requests:
        last = self._last_requests.get(record.service)
        if last is not None and last.has(record):
            return last
        made = _Requests(record)
        short = len(record.method) <= _MAX_NAME and len(record.path) <= _MAX_PATH
        if record.failure is None and short and len(record.model or "") <= _MAX_NAME:
            if len(self._last_requests) >= _MAX_KEPT:  # policies go, and their names with them
                self._last_requests.clear()
            self._last_requests[record.service] = made
        return made

    def _attempts_like(self, attempt: AttemptRecord) -> _Attempts:
        last = self._last_attempts.get(attempt.endpoint)
        if last is not None and last.has(attempt):
            return last
        if len(self._last_attempts) >= _MAX_KEPT:
            self._last_attempts.clear()
        made = self._last_attempts[attempt.endpoint] = _Attempts(attempt)
        return made


def _since(start: float, moment: float | None) -> bytes:
    return b"null" if moment is None else _ms(moment - start)


def _ms(seconds: float) -> bytes:
    """To a tenth of a millisecond; `%.1f` costs five times as much."""
    if seconds < 0.0:
        return b"-%b" % _ms(-seconds)
    tenths = int(seconds * 1e4 + 0.5)
    return b"%d%b" % (tenths // 10, _TENTHS[tenths % 10])


def _number(value: int | None) -> bytes:
    return b"null" if value is None else b"%d" % value
