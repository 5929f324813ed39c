"""The `traceparent` field of W3C Trace Context: read, written, and the decision it carries.

In:      the bytes of an app's `traceparent`; ids and flags of our own spans.
Out:     (trace id, span id, sampled), or None for a value that has to be ignored; bytes to send.
Limits:  strict, as the recommendation asks: lower-case hex only, no all-zero ids, version `ff` refused, and
         nothing after the flags in version 00. A later version may carry more, which is not looked at.
Errors:  none; a bad value means a new trace, never a refused request.
Source:  W3C Trace Context, section 3.2; TraceIdRatioBased of the OpenTelemetry specification.
"""

from __future__ import annotations

import re
from binascii import hexlify
from typing import Final

_FIELD: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL
)
_LOW_HALF: Final = (1 << 64) - 1


def parse(value: bytes) -> tuple[int, int, bool] | None:
    """(trace id, span id, sampled) of an app's field; None when it must be ignored."""
    match = _FIELD.fullmatch(value)
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if more is not None and version == b"00":
        return None
    return int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & 1)


def format(trace_id: int, span_id: int, sampled: bool) -> bytes:
    """The field to send with an attempt; `span_id` is that of the attempt."""
    ids = hexlify(((trace_id << 64) | span_id).to_bytes(24, "big"))  # a third of what %032x and %016x cost
    return b"00-%b-%b-%b" % (ids[:32], ids[32:], b"01" if sampled else b"00")


def sampling_bound(ratio: float) -> int:
    """Below which the low 64 bits of a trace id are for `ratio` of the traces to be kept.

    The same bits and bound as TraceIdRatioBased, so that every service with the same ratio agrees.
    """
    return round(ratio * (_LOW_HALF + 1))


def is_sampled(trace_id: int, parent: bool | None, bound: int) -> bool:
    """The one decision of a trace: the app's if it made one, else by its id; `bound` as of `sampling_bound`."""
    return parent if parent is not None else (trace_id & _LOW_HALF) < bound
