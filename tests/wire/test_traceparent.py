"""The W3C field: what is taken, what is ignored, what is sent."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sidecar.wire import traceparent

TRACE = b"0af7651916cd43dd8448eb211c80319c"
SPAN = b"00f067aa0ba902b7"
TRACES = st.integers(1, 2**128 - 1).map(lambda number: b"%032x" % number)
SPANS = st.integers(1, 2**64 - 1).map(lambda number: b"%016x" % number)


def field(trace: bytes, span: bytes, *, sampled: bool) -> bytes:
    name, _, value = traceparent.line(trace, span, sampled=sampled).partition(b": ")
    assert name == b"traceparent"
    assert value.endswith(b"\r\n")
    return value[:-2]


GOOD = field(TRACE, SPAN, sampled=True)


@given(TRACES, SPANS, st.booleans())
def test_what_is_written_is_read_back(trace: bytes, span: bytes, sampled: bool) -> None:
    """Leading zeros of an id are part of it."""
    assert traceparent.parse(field(trace, span, sampled=sampled)) == (trace, span, sampled)


def test_the_field_has_its_fixed_form() -> None:
    """Receivers compare by length and lower case."""
    assert GOOD == b"00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"


def test_only_the_lowest_flag_says_sampled() -> None:
    """Other flags may be set by a later version of the recommendation."""
    assert field(TRACE, SPAN, sampled=False) == GOOD[:-2] + b"00"
    assert traceparent.parse(GOOD[:-2] + b"02") == (TRACE, SPAN, False)
    assert traceparent.parse(GOOD[:-2] + b"ff") == (TRACE, SPAN, True)


def test_a_later_version_may_carry_more() -> None:
    """Its first four parts are read as ours are."""
    later = b"cc" + GOOD[2:]
    assert traceparent.parse(later) == (TRACE, SPAN, True)
    assert traceparent.parse(later + b"-what-the-future-brings") == (TRACE, SPAN, True)


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


@given(TRACES, st.floats(0, 1), st.booleans())
def test_the_app_decides_where_it_did(trace: bytes, ratio: float, sampled: bool) -> None:
    """One decision a trace."""
    assert traceparent.is_sampled(trace, sampled, traceparent.sampling_bound(ratio)) is sampled


def sdk_keeps(trace: bytes, ratio: float) -> bool:
    from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

    decision = TraceIdRatioBased(ratio).should_sample(None, int(trace, 16), "any").decision
    return decision is Decision.RECORD_AND_SAMPLE


@given(TRACES, st.floats(0, 1))
def test_the_ratio_decides_as_the_sdk_does(trace: bytes, ratio: float) -> None:
    """Another service with the same ratio keeps the same traces."""
    assert traceparent.is_sampled(trace, None, traceparent.sampling_bound(ratio)) is sdk_keeps(trace, ratio)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64), st.integers(-1, 1))
def test_beside_the_bound_it_does_so_too(front: int, bound: int, beside: int) -> None:
    """One id further the verdict is another one; 2**64 and what lies next to it have no room for one digit more."""
    ratio = bound / 2**64
    near = round(ratio * 2**64) + beside
    assume(0 <= near < 2**64 and front + near > 0)
    trace = b"%016x%016x" % (front, near)
    assert traceparent.is_sampled(trace, None, traceparent.sampling_bound(ratio)) is sdk_keeps(trace, ratio)


class Counted(Random):
    """Draws zeros first, then real ids, and counts."""

    drawn = 0

    def randbytes(self, n: int) -> bytes:
        self.drawn += 1
        return bytes(n) if self.drawn == 1 else super().randbytes(n)


def test_no_id_is_drawn_that_others_must_ignore() -> None:
    """All zeros is how the recommendation spells that there is none."""
    ids = traceparent.Ids(Counted(1))
    for _ in range(500):
        line = field(ids.trace(), ids.span(), sampled=True)
        assert traceparent.parse(line) is not None


def test_ids_are_drawn_once() -> None:
    """Whatever their length: none is a part of one before."""
    ids = traceparent.Ids(Random(1))
    drawn = [(ids.trace if n % 3 else ids.span)() for n in range(2000)]
    assert {len(each) for each in drawn} == {32, 16}
    halves = [each[at : at + 16] for each in drawn for at in range(0, len(each), 16)]
    assert len(set(halves)) == len(halves)
