"""Failure kinds and their faces: who is to blame, what may be tried next, what the app sees.

In:      what went wrong, as a value.
Out:     one Face a kind; `code` is the word that logs, spans, metrics and the app's error body share.
Rule:    below the edge an expected failure is a Failure, not an exception.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import NamedTuple, assert_never


class FailureKind(StrEnum):
    """How an attempt, or a request without one, can fail."""

    CONNECT_FAILURE = "connect_failure"
    TLS_ERROR = "tls_error"
    RESET = "reset"
    BAD_RESPONSE = "bad_response"
    FIRST_PACKET_TIMEOUT = "first_packet_timeout"
    RESPONSE_TIMEOUT = "response_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    STATUS = "status"
    CONTEXT_LENGTH = "context_length"
    CONTENT_FILTER = "content_filter"
    MODEL_NOT_FOUND = "model_not_found"
    AUTH = "auth"
    IN_STREAM_ERROR = "in_stream_error"
    EMPTY_STREAM = "empty_stream"
    TRUNCATED_STREAM = "truncated_stream"
    ANSWER_TOO_LARGE = "answer_too_large"
    OVERLOADED = "overloaded"
    RATE_LIMITED = "rate_limited"
    UNHEALTHY = "unhealthy"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    APP_WENT_AWAY = "app_went_away"
    DRAINING = "draining"
    INTERNAL_ERROR = "internal_error"


class Failure(NamedTuple):
    """One failure as it happened.

    `status` is the LLM's own status where it sent one; `retry_after` its wish in seconds;
    `service_wide`: the service says that all of it is overloaded; `silent`: its endpoint could not even be dialled in
    the time that is allowed for it. `detail` is for records and logs, never for the app.
    """

    kind: FailureKind
    status: int | None = None
    retry_after: float | None = None
    detail: str = ""
    service_wide: bool = False
    silent: bool = False

    @property
    def code(self) -> str:
        """`error.type` of the span and `outcome` of the metric: the status for statuses, else the kind."""
        return str(self.status) if self.kind is FailureKind.STATUS else self.kind.value


class Face(NamedTuple):
    """What a kind means to everyone else.

    status              answer to the app when nothing is left to try; None: none can be sent any more
    fallback_word       the word in a route's `fallback_on` that lets another candidate be tried; None: never
    may_retry_same      the same service may be tried once more: the request did not reach a working model
    blames_endpoint     counts as a failure for passive health
    """

    status: int | None
    fallback_word: str | None
    may_retry_same: bool
    blames_endpoint: bool


def _face(kind: FailureKind) -> Face:
    """The one place that takes a stand on every kind."""
    match kind:
        case FailureKind.CONNECT_FAILURE:
            return Face(502, "connect_failure", may_retry_same=True, blames_endpoint=True)
        case FailureKind.TLS_ERROR:
            return Face(502, "connect_failure", may_retry_same=False, blames_endpoint=True)
        case FailureKind.RESET:
            return Face(502, "reset", may_retry_same=True, blames_endpoint=True)
        case FailureKind.BAD_RESPONSE:
            return Face(502, "bad_response", may_retry_same=False, blames_endpoint=True)
        case FailureKind.FIRST_PACKET_TIMEOUT:
            return Face(504, "first_packet_timeout", may_retry_same=False, blames_endpoint=True)
        case FailureKind.RESPONSE_TIMEOUT | FailureKind.TOTAL_TIMEOUT | FailureKind.IDLE_TIMEOUT:
            return Face(504, "response_timeout", may_retry_same=False, blames_endpoint=True)
        case FailureKind.STATUS:  # by its number: see the functions below
            return Face(502, "5xx", may_retry_same=True, blames_endpoint=True)
        case FailureKind.CONTEXT_LENGTH:
            return Face(400, "context_length", may_retry_same=False, blames_endpoint=False)
        case FailureKind.CONTENT_FILTER:
            return Face(400, "content_filter", may_retry_same=False, blames_endpoint=False)
        case FailureKind.MODEL_NOT_FOUND:  # by its number alone
            return Face(404, None, may_retry_same=False, blames_endpoint=False)
        case FailureKind.AUTH:
            return Face(502, "auth", may_retry_same=False, blames_endpoint=False)
        case FailureKind.IN_STREAM_ERROR:
            return Face(502, "in_stream_error", may_retry_same=False, blames_endpoint=True)
        case FailureKind.EMPTY_STREAM:
            return Face(502, "empty_stream", may_retry_same=False, blames_endpoint=True)
        case FailureKind.TRUNCATED_STREAM:
            return Face(502, "reset", may_retry_same=False, blames_endpoint=True)
        case FailureKind.ANSWER_TOO_LARGE:  # another service would be asked for as much in vain
            return Face(502, None, may_retry_same=False, blames_endpoint=False)
        case FailureKind.OVERLOADED:
            return Face(503, "overloaded", may_retry_same=False, blames_endpoint=False)
        case FailureKind.RATE_LIMITED:
            return Face(429, "429", may_retry_same=False, blames_endpoint=False)
        case FailureKind.UNHEALTHY:
            return Face(503, "unhealthy", may_retry_same=False, blames_endpoint=False)
        case FailureKind.DEADLINE_EXCEEDED:
            return Face(504, None, may_retry_same=False, blames_endpoint=False)
        case FailureKind.APP_WENT_AWAY:
            return Face(None, None, may_retry_same=False, blames_endpoint=False)
        case FailureKind.DRAINING:
            return Face(503, None, may_retry_same=False, blames_endpoint=False)
        case FailureKind.INTERNAL_ERROR:  # a bug of ours
            return Face(500, None, may_retry_same=False, blames_endpoint=False)
        case other:
            assert_never(other)


# Asked of every failure: a look-up, not a row of comparisons.
_FACES = {kind: _face(kind) for kind in FailureKind}


def face(kind: FailureKind) -> Face:
    """What the kind means."""
    return _FACES[kind]


def blames_endpoint(failure: Failure) -> bool:
    """Whether passive health counts it: 5xx and 429 are the service's fault, other statuses the app's."""
    if failure.kind is FailureKind.STATUS:
        return failure.status is not None and (failure.status >= 500 or failure.status == 429)
    return face(failure.kind).blames_endpoint


def fallback_words(failure: Failure) -> tuple[str, ...]:
    """The words of `fallback_on` any of which lets a request that failed so go on: `503` and `5xx`, say."""
    words: list[str] = []
    if failure.status is not None:
        words.append(str(failure.status))
    if failure.kind is FailureKind.STATUS:
        if failure.status is not None and failure.status >= 500:
            words.append("5xx")
    elif (word := face(failure.kind).fallback_word) is not None:
        words.append(word)
    return tuple(words)


def may_retry_same(failure: Failure) -> bool:
    """Whether the same service may be tried once more: after a refusal, a reset, a 5xx; never a late one."""
    if failure.kind is FailureKind.STATUS:
        return failure.status is not None and failure.status >= 500 and failure.retry_after is None
    return face(failure.kind).may_retry_same


def is_late(failure: Failure) -> bool:
    """Whether waiting for its endpoint has cost the request as much as it may: it is not asked again."""
    return failure.silent or failure.kind is FailureKind.FIRST_PACKET_TIMEOUT


class Verdict(Enum):
    """What a finished attempt says about its endpoint."""

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORABLE = "ignorable"


def verdict(failure: Failure | None, *, late: bool, dropped: bool, lateness_counts: bool = True) -> Verdict:
    """One verdict an attempt: an app that hung up says nothing, a late first packet counts as a failure.

    Unless the endpoint has a limit that learns from lateness: then it is no illness, and says nothing here.

    A 429 that says when to come back is no illness: it cools the endpoint down and counts neither way. An answer
    that the request had no more time for is unknown: it might have come in time for a more patient one.
    """
    if failure is not None and failure.status == 429 and failure.retry_after is not None:
        return Verdict.IGNORABLE
    if failure is not None and failure.kind is FailureKind.FIRST_PACKET_TIMEOUT and not lateness_counts:
        return Verdict.IGNORABLE
    if failure is not None and blames_endpoint(failure):
        return Verdict.FAILURE
    if late and lateness_counts:
        return Verdict.FAILURE
    out_of_time = failure is not None and failure.kind is FailureKind.DEADLINE_EXCEEDED
    return Verdict.IGNORABLE if dropped or out_of_time else Verdict.SUCCESS
