"""The sidecar's own answers and header fields.

In:      a failure or refusal, and the record of its request.
Out:     bytes of a whole HTTP/1.1 response in the dialect of the path.
Rule:    the message names the code and the request id, never an endpoint's address or a credential.
"""

from __future__ import annotations

from math import ceil
from typing import Final

from sidecar.failure import Failure, FailureKind, face
from sidecar.record import RequestRecord
from sidecar.wire.dialect import Shape, error_body

# Where nobody can say when a place is free: at any moment, and an SDK's own backoff may be half a minute.
RETRY_AFTER: Final = 1.0
RETRY_AFTER_STATUSES: Final = frozenset((429, 503))

# What the sidecar says instead of the service on an error that it has retried already.
RETRIED_FIELDS: Final = frozenset((b"x-should-retry",))
# And of its own rate limits, which are the nearer ones.
QUOTA_FIELDS: Final = frozenset(
    b"x-ratelimit-%b-%b" % (what, kind)
    for what in (b"limit", b"remaining", b"reset")
    for kind in (b"requests", b"tokens")
)
RETRIED_AND_QUOTA_FIELDS: Final = RETRIED_FIELDS | QUOTA_FIELDS

MESSAGES: Final = {
    FailureKind.CONNECT_FAILURE: "No LLM service could be reached",
    FailureKind.TLS_ERROR: "No LLM service could be reached over TLS",
    FailureKind.RESET: "The LLM service closed the connection before it had answered",
    FailureKind.BAD_RESPONSE: "The LLM service sent a response that is not valid HTTP",
    FailureKind.FIRST_PACKET_TIMEOUT: "No LLM service sent a first packet in time",
    FailureKind.RESPONSE_TIMEOUT: "No LLM service answered in time",
    FailureKind.IDLE_TIMEOUT: "The LLM service fell silent before its answer was complete",
    FailureKind.TOTAL_TIMEOUT: "No LLM service answered in time",
    FailureKind.IN_STREAM_ERROR: "The LLM service reported an error instead of an answer",
    FailureKind.EMPTY_STREAM: "The LLM service ended its stream without an answer",
    FailureKind.TRUNCATED_STREAM: "The LLM service ended its stream before the answer was complete",
    FailureKind.ANSWER_TOO_LARGE: "The answer is longer than the route may hold back (commit: complete)",
    FailureKind.OVERLOADED: "Every LLM service of this route is at its limit or to be left alone for a time",
    FailureKind.RATE_LIMITED: "Every LLM service of this route has reached its rate limit",
    FailureKind.UNHEALTHY: "No LLM service of this route is available",
    FailureKind.DEADLINE_EXCEEDED: "No LLM service answered before the deadline of the request",
    FailureKind.DRAINING: "The sidecar is shutting down",
    FailureKind.INTERNAL_ERROR: "The sidecar has failed; its log says more",
}

# In the contract's table of codes, what stands for a narrower one.
WIDER: Final = {
    FailureKind.TRUNCATED_STREAM: FailureKind.RESET,
    FailureKind.TOTAL_TIMEOUT: FailureKind.RESPONSE_TIMEOUT,
    FailureKind.IDLE_TIMEOUT: FailureKind.RESPONSE_TIMEOUT,
    FailureKind.UNHEALTHY: FailureKind.OVERLOADED,
    FailureKind.STATUS: FailureKind.BAD_RESPONSE,
}

# First lines of answers: of the few statuses that were answered with, made when first wanted.
_STATUS_LINES: Final[dict[int, bytes]] = {}


def retried(record: RequestRecord) -> bool:
    """Whether the sidecar has done already what the app's SDK would do about an error."""
    return len(record.attempts) > 1


def answer_fields(record: RequestRecord, *, failed: bool) -> bytes:
    """The `x-sidecar-*` fields of every answer, and on an error whether the app's SDK should try again."""
    fields = b"x-sidecar-request-id: %b\r\nx-sidecar-service: %b\r\nx-sidecar-attempts: %d\r\n" % (
        record.span,
        record.service.encode("latin-1"),
        len(record.attempts),
    )
    if failed and retried(record):
        fields += b"x-should-retry: false\r\n"
    if record.quota_fields:
        fields += record.quota_fields.encode("latin-1")
    return fields


def local_answer(
    shape: Shape, failure: Failure, record: RequestRecord, *, keep_alive: bool
) -> tuple[int, bytes]:
    """(status, response) for a request that no attempt could answer."""
    status = face(failure.kind).status or 502
    message = f"{MESSAGES.get(failure.kind, 'The LLM service failed')} ({failure.code})"
    wait = RETRY_AFTER if failure.retry_after is None else failure.retry_after
    code = public_code(failure)
    return status, own_response(status, shape, code, message, record, keep_alive=keep_alive, retry_after=wait)


def public_code(failure: Failure) -> str:
    """The code in the error body: that of the contract's table where the failure has a narrower one."""
    return WIDER.get(failure.kind, failure.kind).value


def own_response(
    status: int,
    shape: Shape,
    code: str,
    message: str,
    record: RequestRecord,
    *,
    keep_alive: bool,
    retry_after: float = RETRY_AFTER,
) -> bytes:
    """A whole response with a JSON error; without a body for HEAD."""
    body = error_body(shape, code, message, record.request_id)
    return b"".join(
        (
            _status_line(status),
            b"content-type: application/json\r\n",
            b"content-length: %d\r\n" % len(body),
            _retry_after(retry_after) if status in RETRY_AFTER_STATUSES else b"",
            answer_fields(record, failed=True),
            b"" if keep_alive else b"connection: close\r\n",
            b"\r\n",
            b"" if record.method == "HEAD" else body,
        )
    )


def _status_line(status: int) -> bytes:
    line = _STATUS_LINES.get(status)
    if line is None:
        from http import HTTPStatus  # a sidecar without troubles of its own needs no table of them

        line = _STATUS_LINES[status] = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    return line


def _retry_after(seconds: float) -> bytes:
    """In whole seconds, never too early; and to the millisecond for those who read that, as OpenAI's SDKs do."""
    wait = max(seconds, 0.001)
    return b"retry-after: %d\r\nretry-after-ms: %d\r\n" % (ceil(wait), ceil(wait * 1000))
