"""The `traceparent` field of W3C Trace Context: read, written, and the decision it carries.

In:      the bytes of an app's `traceparent`; ids and flags of our own spans.
Out:     (trace id, span id, sampled), or None for a value that has to be ignored; bytes to send.
Units:   an id is its digits as the field bears them: 32 of a trace, 16 of a span. As whole numbers they would cost
         several times as much, and hardly anybody counts with them.
Limits:  strict, as the recommendation asks: lower-case hex only, no all-zero ids, version `ff` refused, and
         nothing after the flags in version 00. A later version may carry more, which is not looked at.
Errors:  none; a bad value means a new trace, never a refused request.
Source:  W3C Trace Context, section 3.2; TraceIdRatioBased of the OpenTelemetry specification.
"""

from __future__ import annotations

import re
from binascii import hexlify
from random import Random
from typing import Final

TRACE_DIGITS: Final = 32
SPAN_DIGITS: Final = 16
_FIELD: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL
)
_HALF: Final = 16  # of a trace id decides about it
_ALL: Final = b"g"  # comes after every digit
_NO_TRACE: Final = b"0" * TRACE_DIGITS
_NO_SPAN: Final = b"0" * SPAN_DIGITS
_DRAWN: Final = 1024  # bytes at a time: of 32 requests with one attempt each


class Ids:
    """Draws new ids: the digits of many at once, which costs less than a draw for each."""

    __slots__ = ("_at", "_digits", "_rng")

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._digits = b""
        self._at = 0

    def trace(self) -> bytes:
        drawn = self._next(TRACE_DIGITS)
        return drawn if drawn != _NO_TRACE else self.trace()

    def span(self) -> bytes:
        drawn = self._next(SPAN_DIGITS)
        return drawn if drawn != _NO_SPAN else self.span()

    def _next(self, digits: int) -> bytes:
        begin = self._at
        if begin + digits > len(self._digits):
            self._digits = hexlify(self._rng.randbytes(_DRAWN))
            begin = 0
        self._at = begin + digits
        return self._digits[begin : begin + digits]


def parse(value: bytes) -> tuple[bytes, bytes, bool] | None:
    """(trace id, span id, sampled) of an app's field; None when it must be ignored."""
    match = _FIELD.fullmatch(value)
    if match is None:
        return None
    version, trace, span, flags, more = match.groups()
    if more is not None and version == b"00":
        return None
    return trace, span, bool(int(flags, 16) & 1)


def line(trace: bytes, span: bytes, *, sampled: bool) -> bytes:
    """The field to send with an attempt, ready; `span` is that of the attempt."""
    if sampled:
        return b"traceparent: 00-%b-%b-01\r\n" % (trace, span)
    return b"traceparent: 00-%b-%b-00\r\n" % (trace, span)


def sampling_bound(ratio: float) -> bytes:
    """Before which, as bytes are ordered, the last 16 digits of a trace id are for `ratio` of the traces to be kept.

    The same bits and bound as TraceIdRatioBased, so that every service with the same ratio agrees.
    """
    bound = b"%016x" % round(ratio * (1 << 64))
    return bound if len(bound) == _HALF else _ALL


def is_sampled(trace: bytes, parent: bool | None, bound: bytes) -> bool:
    """The one decision of a trace: the app's if it made one, else by its id; `bound` as of `sampling_bound`."""
    return parent if parent is not None else trace[_HALF:] < bound
