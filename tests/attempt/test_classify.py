"""What an LLM's status and error body mean."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.attempt.classify import MAX_ERROR_BODY, classify_status, retry_after_seconds, wants_body
from sidecar.failure import Failure, FailureKind, fallback_words
from tests.attempt.script import DEFAULT_FALLBACK_ON

EVERYTHING = DEFAULT_FALLBACK_ON | {"content_filter"}


def classified(
    status: int,
    body: bytes | dict[str, object] = b"",
    *,
    retry_after: float | None = None,
    own_credential: bool = False,
    fallback_on: frozenset[str] = EVERYTHING,
) -> Failure | None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify_status(
        status, body=raw, retry_after=retry_after, own_credential=own_credential, fallback_on=fallback_on
    )


@pytest.mark.parametrize("status", [500, 502, 503, 504, 507, 529, 599, 429])
def test_5xx_and_429_are_failures_even_where_they_may_not_fall_back(status: int) -> None:
    """Health and retries want to know; 529 is Anthropic's `overloaded`."""
    expected = Failure(FailureKind.STATUS, status, 1.5)
    assert classified(status, retry_after=1.5, fallback_on=frozenset()) == expected


@pytest.mark.parametrize("status", [200, 201, 204, 301, 304, 400, 401, 403, 404, 408, 409, 422])
def test_successes_and_the_apps_own_faults_are_passed_on(status: int) -> None:
    """Another service would say the same of a bad request."""
    assert classified(status) is None


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_credential_is_our_fault_only_if_it_was_ours(status: int) -> None:
    """The app's own key is the app's affair."""
    assert classified(status, own_credential=True) == Failure(FailureKind.AUTH, status)
    assert classified(status, own_credential=False) is None


CONTEXT_ERRORS: dict[str, dict[str, object]] = {
    "openai": {"error": {"message": "…", "type": "invalid_request_error", "code": "context_length_exceeded"}},
    "anthropic": {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": "prompt is too long: 210000 tokens > 200000 maximum",
        },
    },
    "vllm": {
        "object": "error",
        "message": "This model's maximum context length is 4096 tokens. However, you requested 5000.",
        "type": "BadRequestError",
        "code": 400,
    },
    "llama.cpp": {
        "error": {"code": 400, "message": "too big", "type": "exceed_context_size_error", "n_ctx": 512}
    },
    "llama.cpp, by its words": {"error": {"message": "the request exceeds the available context size"}},
    "sglang": {"error": "The input (9000 tokens) is longer than the model's context length (8192 tokens)."},
    "dashscope": {
        "error": {"code": "invalid_parameter_error", "message": "Range of input length should be [1, 30720]"}
    },
}


@pytest.mark.parametrize("vendor", CONTEXT_ERRORS)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_prompt_too_long_for_one_model_may_fit_another(vendor: str, status: int) -> None:
    """Each service says so in its own words."""
    body = CONTEXT_ERRORS[vendor]
    assert classified(status, body) == Failure(FailureKind.CONTEXT_LENGTH, status)
    assert classified(status, body, fallback_on=frozenset({"5xx"})) is None


@pytest.mark.parametrize(
    "error",
    [
        {"code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}},
        {"code": None, "innererror": {"code": "ResponsibleAIPolicyViolation"}},
        {"code": "content_policy_violation"},
        {"type": "data_inspection_failed"},
    ],
)
def test_a_filtered_prompt_falls_back_only_where_the_route_says_so(error: dict[str, object]) -> None:
    """It is not among the defaults: asking around for a laxer filter is a decision."""
    assert classified(400, {"error": error}) == Failure(FailureKind.CONTENT_FILTER, 400)
    assert classified(400, {"error": error}, fallback_on=DEFAULT_FALLBACK_ON) is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "temperature out of range", "code": "invalid_value"}}',
        b'{"detail": [{"msg": "bad", "input": "tell me about the context length of GPT"}]}',
        b'{"error": {"message": ["context length"], "code": {"a": 1}, "innererror": "context length"}}',
        b'{"error": null, "message": "context length"}',
        b'["context length"]',
        b'"context length"',
        b"context length",
        b"",
        b"\xff\xfe",
        b"[" * MAX_ERROR_BODY,
        b'{"error": {"code": "context_length_exceeded", "message": "' + b"x" * MAX_ERROR_BODY + b'"}}',
    ],
    ids=range(11),
)
def test_other_bodies_and_echoed_prompts_say_nothing(body: bytes) -> None:
    """Only the fields of an error object count; what a hostile or broken service sends is harmless."""
    assert classified(400, body) is None


def test_any_status_listed_in_fallback_on_is_a_failure() -> None:
    """A vendor whose model is gone answers 404."""
    assert classified(404, fallback_on=frozenset({"404"})) == Failure(FailureKind.STATUS, 404)
    assert classified(400, b"{}", fallback_on=frozenset({"400"})) == Failure(FailureKind.STATUS, 400)


def test_a_success_never_is() -> None:
    """Whatever a policy lists."""
    assert classified(200, fallback_on=frozenset({"200"})) is None


@pytest.mark.parametrize(
    ("status", "words", "wanted"),
    [
        (400, {"context_length"}, True),
        (413, {"content_filter"}, True),
        (400, {"5xx", "400"}, False),
        (404, {"context_length"}, False),
        (500, {"context_length"}, False),
        (200, {"context_length"}, False),
    ],
)
def test_a_body_is_wanted_only_where_it_decides(status: int, words: set[str], wanted: bool) -> None:
    """Waiting for a body costs time and memory."""
    assert wants_body(status, fallback_on=frozenset(words)) is wanted


@given(
    st.integers(100, 599),
    st.binary(max_size=200),
    st.booleans(),
    st.frozensets(st.sampled_from(sorted(EVERYTHING))),
)
def test_a_body_that_is_not_wanted_never_changes_the_verdict(
    status: int, body: bytes, own: bool, words: frozenset[str]
) -> None:
    """So the exchange may decide without it."""
    failure = classified(status, body, own_credential=own, fallback_on=words)
    if not wants_body(status, fallback_on=words):
        assert failure == classified(status, own_credential=own, fallback_on=words)
    assert failure is None or fallback_words(failure)[0] == str(status)


# Retry-After. 784111777 is Sun, 06 Nov 1994 08:49:37 GMT, the date RFC 9110 uses for its examples.
EXAMPLE = 784111777.0


@pytest.mark.parametrize(
    ("value", "ms", "seconds"),
    [
        (b"120", None, 120.0),
        (b" 7 ", None, 7.0),
        (b"0", None, 0.0),
        (b"0.25", None, 0.25),
        (b"-5", None, 0.0),
        (b"99999999", None, 86400.0),
        (b"120", b"250", 0.25),
        (None, b"1500.5", 1.5005),
        (b"3", b"soon", 3.0),
        (b"Sun, 06 Nov 1994 08:49:40 GMT", None, 3.0),
        (b"Sunday, 06-Nov-94 08:49:40 GMT", None, 3.0),
        (b"Sun Nov  6 08:49:40 1994", None, 3.0),
        (b"Sun, 06 Nov 1994 08:49:30 GMT", None, 0.0),
        (b"Fri, 06 Nov 2099 08:49:37 GMT", None, 86400.0),
        (None, None, None),
        (b"", None, None),
        (b"soon", None, None),
        (b"nan", None, None),
        (b"inf", None, None),
        (b"1e9", None, None),
        (b"9" * 5000, None, None),
        (b"Sun, 99 Nov 1994 08:49:40 GMT", None, None),
        (b"\xb2", None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_milliseconds_win(
    value: bytes | None, ms: bytes | None, seconds: float | None
) -> None:
    """All forms of RFC 9110, and what vendors send beside them; the past is now, more than a day is a day."""
    assert retry_after_seconds(value, ms, EXAMPLE) == seconds


@given(st.none() | st.binary(max_size=80), st.none() | st.binary(max_size=80))
def test_no_header_value_can_do_harm(value: bytes | None, ms: bytes | None) -> None:
    """It comes from outside."""
    seconds = retry_after_seconds(value, ms, EXAMPLE)
    assert seconds is None or 0.0 <= seconds <= 86400.0


@given(st.text("SunMoTeWdhFriat, 0123456789:JabGMT+-()\x00", max_size=64))
def test_no_near_date_can_do_harm(text: str) -> None:
    """The date parser is forgiving, and must not raise what we do not expect."""
    seconds = retry_after_seconds(text.encode(), None, EXAMPLE)
    assert seconds is None or 0.0 <= seconds <= 86400.0
