"""Heads that were seen twice are not read again: the same bytes get the same verdict.

In:      a whole head, as parse_request_head and parse_response_head take it.
Out:     what they would answer, and beside it the values of Content-Length and traceparent. Heads that differ only in
         these two are one RequestHead or ResponseHead, so that what is derived from it (`memo`) is derived once; its
         own `content_length` and `traceparent` are those of the first of them, and nobody else's business.
Limits:  ENTRIES heads of at most LONGEST bytes; when there are more, all are forgotten. A head is kept when it comes
         for the second time: those that never come again, as where each request has an id of its own, cost a number
         and put nobody out. Refusals are not kept.
Exact:   what is cut out stands behind the first `CRLF Content-Length: ` and is digits only. A head with that name
         and anything else behind it is never looked up, so head and rest determine each other; and the grammar takes
         any digits where it took some. The same goes for traceparent.
Why:     an SDK sends the same head again and again but for these two; reading one costs 4 µs, finding it here 1.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from sidecar.wire.digits import decimal
from sidecar.wire.heads import (
    CRLF,
    Refusal,
    RequestHead,
    ResponseHead,
    parse_request_head,
    parse_response_head,
)
from sidecar.wire.memo import remember
from sidecar.wire.traceparent import parse as parse_traceparent

H = TypeVar("H", RequestHead, ResponseHead)

ENTRIES: Final = 256
ONCE: Final = 4096  # hashes of heads that came once, some 200 KB
LONGEST: Final = 4096
# As the SDKs' HTTP libraries and the usual servers write them; other spellings are read each time.
_LENGTH: Final = "\r\nContent-Length: "
_LOWER_LENGTH: Final = "\r\ncontent-length: "
_TRACE: Final = "\r\ntraceparent: "
_TRACE_BYTES: Final = _TRACE.encode()
_TRACE_SIZE: Final = 55


class Likely(Generic[H]):
    """A head as it came before, around the digits of its length: on one connection the next is most often the same.

    Where it is, nothing has to be searched, cut out or hashed: two comparisons tell.
    """

    __slots__ = ("_back", "_front", "head")

    def __init__(self, raw: bytes, head: H) -> None:
        """`raw`: the whole head, in which `likely` has found a length."""
        text = raw.decode("latin-1")
        begin = _length_in(text)
        self._front = raw[:begin]
        self._back = raw[text.find("\r\n", begin) :]
        self.head: H = head

    def match(self, buffer: bytes, most: int) -> tuple[int, int]:
        """Where the head ends that the buffer begins with, and its Content-Length; (-1, 0): it is another one, if any,
        or longer than `most`."""
        if not buffer.startswith(self._front):
            return -1, 0
        begin = len(self._front)
        length, digits_end = decimal(buffer, begin)
        end = digits_end + len(self._back)
        if digits_end == begin or end > most or buffer[digits_end:end] != self._back:
            return -1, 0
        return end, length


class RequestHeads:
    """Reads the heads of apps."""

    __slots__ = ("_known", "_once")

    def __init__(self) -> None:
        self._known: dict[bytes, RequestHead] = {}
        self._once: set[int] = set()

    def parse(self, head: bytes) -> tuple[RequestHead, int | None, bytes | None] | Refusal:
        """The head, its Content-Length, its traceparent."""
        text = head.decode("latin-1")  # which is searched faster (sidecar.wire.search)
        rest, length = _cut_length(head, text)
        trace = None
        if rest is not None and text.find(_TRACE) >= 0:
            rest, trace = _cut_trace(rest)
        if rest is not None:
            known = self._known.get(rest)
            if known is not None:  # what was not cut out is the same in both
                return (
                    known,
                    known.content_length if length is None else length,
                    known.traceparent if trace is None else trace,
                )
        read = parse_request_head(head)
        if isinstance(read, Refusal):
            return read
        if rest is not None:
            _keep(self._known, self._once, rest, read)
        return read, read.content_length, read.traceparent

    def forget(self) -> None:
        """Lets go of every head, and of what was memorized with them."""
        self._known.clear()


class ResponseHeads:
    """Reads the heads of LLM services."""

    __slots__ = ("_known", "_once")

    def __init__(self) -> None:
        self._known: dict[bytes, ResponseHead] = {}
        self._once: set[int] = set()

    def parse(self, head: bytes) -> tuple[ResponseHead, int | None] | str:
        """The head and its Content-Length."""
        rest, length = _cut_length(head, head.decode("latin-1"))
        if rest is not None:
            known = self._known.get(rest)
            if known is not None:
                return known, known.content_length if length is None else length
        read = parse_response_head(head)
        if isinstance(read, str):
            return read
        if rest is not None:
            _keep(self._known, self._once, rest, read)
        return read, read.content_length

    def forget(self) -> None:
        """Lets go of every head, and of what was memorized with them."""
        self._known.clear()


def likely(raw: bytes, head: H) -> Likely[H] | None:
    """For a head that was read; None: it has no length of the usual spelling, or a trace, which is never the same."""
    text = raw.decode("latin-1")
    if text.find(_TRACE) >= 0 or head.content_length is None or _cut_length(raw, text)[1] is None:
        return None
    return Likely(raw, head)


def _length_in(text: str) -> int:
    """Where the value of its Content-Length begins; -1: nowhere."""
    begin = text.find(_LENGTH)
    if begin < 0:
        begin = text.find(_LOWER_LENGTH)
    return -1 if begin < 0 else begin + len(_LENGTH)


def _cut_length(head: bytes, text: str) -> tuple[bytes | None, int | None]:
    """The head without the digits of its Content-Length, and their value; no head where something else stands there."""
    begin = _length_in(text)
    if begin < 0:
        return head, None
    length, end = decimal(head, begin)
    if end == begin or head[end : end + 2] != CRLF:
        return None, None
    return head[:begin] + head[end:], length


def _cut_trace(head: bytes) -> tuple[bytes | None, bytes | None]:
    """The head without the value of its traceparent, and that value; no head where it is no proper one."""
    front, name, back = head.partition(_TRACE_BYTES)
    value = back[:_TRACE_SIZE]
    if back[_TRACE_SIZE : _TRACE_SIZE + 2] != b"\r\n" or parse_traceparent(value) is None:
        return None, None
    return b"%b%b%b" % (front, name, back[_TRACE_SIZE:]), value


def _keep(known: dict[bytes, H], once: set[int], rest: bytes, read: H) -> None:
    mark = hash(rest)
    if mark not in once:
        if len(once) >= ONCE:
            once.clear()
        once.add(mark)
    elif len(rest) <= LONGEST:
        remember(known, rest, read, ENTRIES)
