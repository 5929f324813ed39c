"""Heads that were seen before are not read again: the same bytes get the same verdict.

In:      a whole head, as parse_request_head and parse_response_head take it.
Out:     what they would answer. Heads that differ only in the values of Content-Length and traceparent share one
         reading; each gets its own object with its own two values, and the `memo` of all of them is one.
Limits:  ENTRIES heads of at most LONGEST bytes; when there are more, all are forgotten. Refusals are not kept.
Exact:   what is cut out stands behind the first `CRLF Content-Length: ` and is digits only. A head with that name
         and anything else behind it is never looked up, so head and rest determine each other; and the grammar takes
         any digits where it took some. The same goes for traceparent.
Why:     an SDK sends the same head again and again but for these two; reading one costs 9 µs, finding it here 1.
"""

from __future__ import annotations

from typing import TypeVar

from sidecar.wire.heads import (
    MAX_LENGTH_DIGITS,
    Refusal,
    RequestHead,
    ResponseHead,
    parse_request_head,
    parse_response_head,
)
from sidecar.wire.traceparent import parse as parse_traceparent

H = TypeVar("H", RequestHead, ResponseHead)

ENTRIES = 256
LONGEST = 4096
# As the SDKs' HTTP libraries and the usual servers write them; other spellings are read each time.
_LENGTHS = (b"\r\nContent-Length: ", b"\r\ncontent-length: ")
_TRACE = b"\r\ntraceparent: "
_TRACE_SIZE = 55


class RequestHeads:
    """Reads the heads of apps."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, RequestHead] = {}

    def parse(self, head: bytes) -> RequestHead | Refusal:
        rest, length = _cut_length(head)
        if rest is not None:
            rest, trace = _cut_trace(rest)
        if rest is None:
            return parse_request_head(head)
        known = self._known.get(rest)
        if known is not None:
            return known.with_values(
                known.content_length if length is None else length,  # not cut out: the same in both
                known.traceparent if trace is None else trace,
            )
        read = parse_request_head(head)
        if isinstance(read, RequestHead):
            _keep(self._known, rest, read)
        return read

    def forget(self) -> None:
        """Lets go of every head, and of what was memorized with them."""
        self._known.clear()


class ResponseHeads:
    """Reads the heads of LLM services."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, ResponseHead] = {}

    def parse(self, head: bytes) -> ResponseHead | str:
        rest, length = _cut_length(head)
        if rest is None:
            return parse_response_head(head)
        known = self._known.get(rest)
        if known is not None:
            return known.with_values(known.content_length if length is None else length)
        read = parse_response_head(head)
        if isinstance(read, ResponseHead):
            _keep(self._known, rest, read)
        return read


def _cut_length(head: bytes) -> tuple[bytes | None, int | None]:
    """The head without the digits of its Content-Length, and their value; no head where something else stands there."""
    for name in _LENGTHS:
        at = head.find(name)
        if at >= 0:
            begin = at + len(name)
            end = head.find(b"\r\n", begin)
            digits = head[begin:end]
            if digits.isdigit() and len(digits) <= MAX_LENGTH_DIGITS:
                return head[:begin] + head[end:], int(digits)
            return None, None
    return head, None


def _cut_trace(head: bytes) -> tuple[bytes | None, bytes | None]:
    """The same for the value of its traceparent, if that is a proper one."""
    at = head.find(_TRACE)
    if at < 0:
        return head, None
    begin = at + len(_TRACE)
    end = begin + _TRACE_SIZE
    value = head[begin:end]
    if head[end : end + 2] != b"\r\n" or parse_traceparent(value) is None:
        return None, None
    return head[:begin] + head[end:], value


def _keep(known: dict[bytes, H], rest: bytes, read: H) -> None:
    if len(rest) > LONGEST:
        return
    if len(known) >= ENTRIES:
        known.clear()
    known[rest] = read
