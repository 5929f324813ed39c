"""The W3C field: what is taken, what is ignored, what is sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire import traceparent

TRACE = 0x0AF7651916CD43DD8448EB211C80319C
SPAN = 0x00F067AA0BA902B7


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_what_is_written_is_read_back(trace_id: int, span_id: int, sampled: bool) -> None:
    """Leading zeros of an id are part of it."""
    assert traceparent.parse(traceparent.format(trace_id, span_id, sampled)) == (trace_id, span_id, sampled)


def test_the_field_has_its_fixed_form() -> None:
    """Receivers compare by length and lower case."""
    assert traceparent.format(TRACE, SPAN, True) == b"00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"


def test_only_the_lowest_flag_says_sampled() -> None:
    """Other flags may be set by a later version of the recommendation."""
    field = traceparent.format(TRACE, SPAN, False)
    assert traceparent.parse(field[:-2] + b"02") == (TRACE, SPAN, False)
    assert traceparent.parse(field[:-2] + b"ff") == (TRACE, SPAN, True)


def test_a_later_version_may_carry_more() -> None:
    """Its first four parts are read as ours are."""
    later = b"cc" + traceparent.format(TRACE, SPAN, True)[2:]
    assert traceparent.parse(later) == (TRACE, SPAN, True)
    assert traceparent.parse(later + b"-what-the-future-brings") == (TRACE, SPAN, True)


GOOD = traceparent.format(TRACE, SPAN, True)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"nonsense",
        GOOD.upper(),
        GOOD + b"-more",
        GOOD + b" ",
        b" " + GOOD,
        GOOD[:-1],
        GOOD + b"0",
        b"ff" + GOOD[2:],
        b"cc" + GOOD[2:] + b"more",
        GOOD.replace(b"-", b"_"),
        b"00-" + b"0" * 32 + GOOD[35:],
        GOOD[:36] + b"0" * 16 + GOOD[52:],
        GOOD.replace(b"a", b"g"),
        GOOD + b"\n",
    ],
)
def test_a_bad_field_is_ignored(value: bytes) -> None:
    """A trace that cannot be continued is begun anew."""
    assert traceparent.parse(value) is None


@given(st.integers(1, 2**128 - 1), st.floats(0, 1), st.booleans())
def test_the_app_decides_where_it_did(trace_id: int, ratio: float, sampled: bool) -> None:
    """One decision a trace."""
    assert traceparent.is_sampled(trace_id, sampled, traceparent.sampling_bound(ratio)) is sampled


@given(st.integers(1, 2**128 - 1), st.floats(0, 1))
def test_the_ratio_decides_as_the_sdk_does(trace_id: int, ratio: float) -> None:
    """Another service with the same ratio keeps the same traces."""
    from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

    theirs = TraceIdRatioBased(ratio).should_sample(None, trace_id, "any").decision
    bound = traceparent.sampling_bound(ratio)
    assert traceparent.is_sampled(trace_id, None, bound) is (theirs is Decision.RECORD_AND_SAMPLE)
