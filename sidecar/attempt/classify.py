"""What an LLM's status, and the error body under it, mean for the request.

In:      the status, its body where wants_body asked for it, Retry-After as seconds, the route's fallback_on.
Out:     a Failure; None: an answer to pass on as it came, be it a success or the app's own fault.
Units:   seconds; `wall_now` is Unix time, for Retry-After may be a date.
Limits:  only the fields of an error object are read, never the text around them: a service may echo the prompt.
Errors:  none. A body that is no JSON says nothing.
Source:  RFC 9110 10.2.3 for Retry-After; `retry-after-ms` is what the OpenAI services send beside it. The words
         of the errors are those of OpenAI, Azure, Anthropic, DashScope, vLLM, SGLang and llama.cpp.
"""

from __future__ import annotations

import json
import re

from sidecar.failure import Failure, FailureKind

# An error in words fits well; what is longer is not read.
MAX_ERROR_BODY = 64 * 1024
# A vendor's daily quota may honestly ask for hours; nothing asks for more than a day.
MAX_RETRY_AFTER = 86_400.0

BODY_STATUSES = frozenset((400, 413, 422))
BODY_WORDS = frozenset(("context_length", "content_filter"))
MODEL_WORD = "404"

CONTEXT_CODES = frozenset(("context_length_exceeded", "exceed_context_size_error"))
CONTEXT_PHRASES = (
    "context length",
    "context window",
    "context size",
    "prompt is too long",
    "range of input length",
)
# vLLM, Ollama and Anthropic have no code of their own for it; each of them names the model in its message.
MODEL_PHRASES = ("model",)
CREDIT_CODES = frozenset(
    ("insufficient_quota", "arrearage", "insufficient_balance", "billing_hard_limit_reached")
)
FILTER_CODES = frozenset(
    ("content_filter", "content_policy_violation", "responsibleaipolicyviolation", "data_inspection_failed")
)

SECONDS = re.compile(rb"(-?)(\d{1,12}(?:\.\d{1,9})?)")
LONGEST_DATE = 64


def wants_body(status: int, *, fallback_on: frozenset[str]) -> bool:
    """Whether the body decides; if not, it need not be waited for."""
    if status == 404:
        return MODEL_WORD in fallback_on
    return status in BODY_STATUSES and not BODY_WORDS.isdisjoint(fallback_on)


def classify_status(
    status: int, *, body: bytes, retry_after: float | None, own_credential: bool, fallback_on: frozenset[str]
) -> Failure | None:
    """The failure that a status is. `own_credential`: the sidecar supplied it, so a refusal is not the app's fault."""
    if status < 300:
        return None
    if own_credential and (status in (401, 402, 403) or (status == 429 and _lacks_credit(body))):
        return Failure(FailureKind.AUTH, status, retry_after)
    if status >= 500 or status == 429:
        return Failure(FailureKind.STATUS, status, retry_after)
    if status == 404 and MODEL_WORD in fallback_on and _names_no_model(body):
        return Failure(FailureKind.MODEL_NOT_FOUND, status)
    if wants_body(status, fallback_on=fallback_on):
        kind = _kind_of_body(body)
        if kind is not None and kind.value in fallback_on:
            return Failure(kind, status, retry_after)
    if str(status) in fallback_on:
        return Failure(FailureKind.STATUS, status, retry_after)
    return None


def retry_after_seconds(value: bytes | None, ms_value: bytes | None, wall_now: float) -> float | None:
    """How long the service wants to be left alone; None: it does not say, or not in words one can read."""
    seconds = _number(ms_value, 0.001)
    if seconds is None:
        seconds = _number(value, 1.0)
    if seconds is None:
        seconds = _until_date(value, wall_now)
    return None if seconds is None else min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _lacks_credit(body: bytes) -> bool:
    return not _error_of(body)[0].isdisjoint(CREDIT_CODES)


def _names_no_model(body: bytes) -> bool:
    """A path that is not there is a 404, too."""
    codes, message = _error_of(body)
    return "model_not_found" in codes or any(phrase in message for phrase in MODEL_PHRASES)


def _kind_of_body(body: bytes) -> FailureKind | None:
    codes, message = _error_of(body)
    if not codes.isdisjoint(FILTER_CODES):
        return FailureKind.CONTENT_FILTER
    if not codes.isdisjoint(CONTEXT_CODES) or any(phrase in message for phrase in CONTEXT_PHRASES):
        return FailureKind.CONTEXT_LENGTH
    return None


def _error_of(body: bytes) -> tuple[set[str], str]:
    """Codes and message of an error, in lower case: `{"error": {…}}`, `{"error": "…"}` or the fields at the top."""
    if len(body) > MAX_ERROR_BODY:
        return set(), ""
    try:
        top = json.loads(body)
    except (ValueError, RecursionError):
        return set(), ""
    error = top.get("error", top) if isinstance(top, dict) else None
    if isinstance(error, str):
        return set(), error.lower()
    if not isinstance(error, dict):
        return set(), ""
    inner = error.get("innererror")
    words = [error.get("code"), error.get("type"), inner.get("code") if isinstance(inner, dict) else None]
    message = error.get("message")
    return {word.lower() for word in words if isinstance(word, str)}, (
        message.lower() if isinstance(message, str) else ""
    )


def _number(value: bytes | None, unit: float) -> float | None:
    found = SECONDS.fullmatch(value.strip()) if value is not None else None
    if found is None:
        return None
    return 0.0 if found[1] else float(found[2]) * unit


def _until_date(value: bytes | None, wall_now: float) -> float | None:
    if value is None or len(value) > LONGEST_DATE:
        return None
    from datetime import UTC  # here, since dates are rare and the mail package would slow every start
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(value.decode("latin-1"))
        return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp() - wall_now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
