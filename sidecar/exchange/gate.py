"""Holds back an attempt's status, headers and bytes until its first packet.

In:      bytes of the endpoint, from the first of the response's head.
Out:     OPEN when the first packet that counts is there (or the whole answer, where it is no stream),
         a Failure when the attempt cannot become an answer, None while nothing is decided.
Limits:  those of the service (AnswerLimits), and HOLD_ERROR bytes of an error's body.
Errors:  values, never exceptions. A failing status is read to its end first, so that it can be passed on.
Why:     vLLM sends 200 and headers before it has queued the request; whoever forwards them can neither fall
         back nor see the overload.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import Final

from sidecar.attempt.classify import classify_status, retry_after_seconds, wants_body
from sidecar.exchange.clocks import wall_ns
from sidecar.failure import Failure, FailureKind
from sidecar.policy.snapshot import AnswerLimits
from sidecar.wire.dialect import Shape
from sidecar.wire.first_packet import StreamReader
from sidecar.wire.framing import UntilClose, Walker, may_have_body, response_walker
from sidecar.wire.head_cache import Likely, ResponseHeads
from sidecar.wire.head_cache import likely as likely_of
from sidecar.wire.heads import ResponseHead, head_end
from sidecar.wire.memo import remember
from sidecar.wire.search import find

MAX_INTERIM: Final = 16  # 1xx responses before the real one; nobody sends more than one or two
HOLD_ERROR: Final = 256 * 1024
SEARCHED: Final = 4096  # of a 200 that may be an error
# Of what is derived from one head: an app may invent methods, and each has terms of its own.
MOST_KNOWN: Final = 256
DEFAULT_LIMITS: Final = AnswerLimits()


class Verdict(Enum):
    OPEN = "open"


OPEN: Final = Verdict.OPEN


class Hold(Enum):
    """What the gate waits for once it has the head."""

    NOTHING = "nothing"  # `first_packet_is: headers`
    FIRST_BYTE = "first_byte"
    WHOLE = "whole"
    STREAM = "stream"
    ERROR = "error"


# Looked up by name for every response: of an Enum's class each look costs ten times as much.
NOTHING: Final = Hold.NOTHING
FIRST_BYTE: Final = Hold.FIRST_BYTE
WHOLE: Final = Hold.WHOLE
STREAM: Final = Hold.STREAM
ERROR: Final = Hold.ERROR


class Terms:
    """What of request, service and route the gate has to know; shared by all attempts on a service."""

    __slots__ = (
        "complete",
        "fallback_on",
        "first_packet_is",
        "heads",
        "kind",
        "last_head",
        "likely",
        "likely_hold",
        "limits",
        "max_header",
        "max_held",
        "method",
        "own_credential",
        "shape",
        "stream",
    )

    def __init__(
        self,
        *,
        method: str,
        shape: Shape,
        stream: bool,
        first_packet_is: str | None,
        complete: bool,
        own_credential: bool,
        fallback_on: frozenset[str],
        heads: ResponseHeads,
        limits: AnswerLimits = DEFAULT_LIMITS,
    ) -> None:
        self.limits = limits
        self.max_header = limits.max_header
        self.max_held = limits.max_held_complete if complete else limits.max_held
        self.heads = heads
        self.method = method
        self.shape = shape
        self.stream = stream
        self.first_packet_is = first_packet_is
        self.kind = first_packet_is or ("content" if shape.is_known else "event")  # for a stream
        self.complete = complete
        self.own_credential = own_credential
        self.fallback_on = fallback_on
        self.last_head: ResponseHead | None = None
        self.likely: Likely[ResponseHead] | None = None  # once a head has come twice in a row
        self.likely_hold: tuple[Hold, bool] = WHOLE, False  # as _way_to_hold has it of that head


class Gate:
    """One attempt's response up to its commit.

    whole      all of it came at once, as long as its head says: there is no walker
    length     its Content-Length
    """

    __slots__ = (
        "_hold",
        "_interim",
        "_raw",
        "_size",
        "_terms",
        "head",
        "length",
        "payloads",
        "progress",
        "reader",
        "walker",
        "whole",
    )

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._raw = b""
        self._interim = 0
        self._size = 0
        self._hold = WHOLE
        self.head: ResponseHead | None = None
        self.length: int | None = None
        self.walker: Walker | None = None
        self.whole = False
        self.reader: StreamReader | None = None  # of an event stream
        self.payloads: list[bytes] = []  # the body so far, framing taken off
        self.progress = False  # the first packet is there, even if the gate stays shut

    def feed(self, data: bytes) -> Verdict | Failure | None:
        if self.head is None:
            rest = self._read_head(data)
            if not isinstance(rest, bytes):
                return rest
            data = rest
            if self.whole:
                self.payloads.append(data)
                self.progress = True
                return self._error_inside(data) or OPEN
        walker = self.walker
        assert walker is not None
        if data:
            payload = walker.feed(data)
            if payload:
                self._size += len(payload)
                self.payloads.append(payload)
                if self.reader is not None:
                    self.reader.feed(payload)
            if walker.broken is not None:
                return Failure(FailureKind.BAD_RESPONSE, detail=walker.broken)
        return self._judge(whole=walker.done)

    def ended(self) -> Verdict | Failure:
        """The endpoint closed the connection properly."""
        if self.walker is None:
            return Failure(FailureKind.RESET, detail="closed before a whole head")
        why = self.walker.eof()
        if why is not None:
            return self.cut(Failure(FailureKind.RESET, detail=why))
        verdict = self._judge(whole=True)
        assert verdict is not None
        return verdict

    def cut(self, why: Failure) -> Failure:
        """It ended before its time: a failing status that came before says more than the end does."""
        said = self.error() if self.awaits_error_body else why
        return said if isinstance(said, Failure) else why

    def body(self) -> bytes:
        """What was held, framing taken off."""
        return self.payloads[0] if len(self.payloads) == 1 else b"".join(self.payloads)

    @property
    def is_complete(self) -> bool:
        """The answer is here to its last byte."""
        return self.whole or (self.walker is not None and self.walker.done)

    @property
    def exactly_framed(self) -> bool:
        """Complete, with nothing behind it: its connection may serve another exchange."""
        head, walker = self.head, self.walker
        if head is None or not head.keep_alive:
            return False
        if walker is None:
            return self.whole
        return walker.done and not walker.left_over and not isinstance(walker, UntilClose)

    def _read_head(self, data: bytes) -> bytes | Failure | None:
        """What follows the head; None: it is not all there."""
        terms = self._terms
        end, likely = -1, terms.likely
        if likely is not None and not self._raw:
            end, length = likely.match(data, terms.max_header)
        if likely is not None and end >= 0:
            self.head, self.length = likely.head, length
            head = likely.head
            hold, may_be_whole = terms.likely_hold
            raw = data[end:]
        else:
            read = self._search_head(self._raw + data if self._raw else data)
            if not isinstance(read, bytes):
                return read
            raw = read
            assert self.head is not None
            head, length = self.head, -1 if self.length is None else self.length
            hold, may_be_whole = self._way_to_hold(head)
        self._hold = hold
        if may_be_whole and length == len(raw):
            self.whole = True
        else:
            self.walker = response_walker(head, terms.method, self.length)
            if hold is STREAM:
                self.reader = StreamReader(terms.shape, terms.kind, terms.limits.max_event)
        return raw

    def _search_head(self, raw: bytes) -> bytes | Failure | None:
        """Sets head and length, passing interim ones over. What follows; None: it is not all there."""
        terms = self._terms
        most = terms.max_header
        while True:
            end = head_end(raw)
            if end < 0 or end > most:
                self._raw = raw
                if len(raw) > most:
                    return Failure(FailureKind.BAD_RESPONSE, detail=f"head of over {most} bytes")
                return None
            read = terms.heads.parse(raw[:end])
            if isinstance(read, str):
                return Failure(FailureKind.BAD_RESPONSE, detail=read)
            head, length = read
            if head.status >= 200:
                break
            raw = raw[end:]
            self._interim += 1
            if head.status == 101 or self._interim > MAX_INTERIM:
                return Failure(FailureKind.BAD_RESPONSE, detail=f"unexpected interim response {head.status}")
        self._raw = b""
        self.head, self.length = head, length
        if head is terms.last_head:
            terms.likely, terms.likely_hold = likely_of(raw[:end], head), self._way_to_hold(head)
        terms.last_head = head
        return raw[end:]

    def _way_to_hold(self, head: ResponseHead) -> tuple[Hold, bool]:
        """What to wait for, and whether that may be a body which comes with its head; the same for alike heads."""
        terms = self._terms
        known: tuple[Hold, bool] | None = head.memo.get(terms)
        if known is None:
            hold = self._hold_for(head)
            plain = hold is not STREAM and hold is not ERROR and not head.chunked
            known = hold, plain and may_have_body(head.status, terms.method)
            remember(head.memo, terms, known, MOST_KNOWN)
        return known

    def _hold_for(self, head: ResponseHead) -> Hold:
        terms = self._terms
        if head.status >= 300:
            decided = self._classify(b"") is not None
            return ERROR if decided or wants_body(head.status, fallback_on=terms.fallback_on) else WHOLE
        if head.content_type == b"text/event-stream" and head.content_encoding in (b"", b"identity"):
            return STREAM  # the reader knows what counts; `headers` count at once
        if terms.complete:
            return WHOLE
        match terms.first_packet_is:
            case "headers":
                return NOTHING
            case "body":
                return FIRST_BYTE
        return WHOLE

    def _judge(self, *, whole: bool) -> Verdict | Failure | None:
        hold = self._hold
        if hold is STREAM:
            return self._judge_stream(whole=whole)
        if hold is WHOLE:
            self.progress = self.progress or self._size > 0
            if whole:
                return self._error_inside(self.body()) or OPEN
            if self._size <= self._terms.max_held:
                return None
            return self._too_large() if self._terms.complete else OPEN
        if hold is ERROR:
            return self.error() if whole or self._size > HOLD_ERROR else None
        if hold is FIRST_BYTE:
            self.progress = self._size > 0
            return OPEN if whole or self._size else None
        self.progress = True  # NOTHING
        return OPEN

    def _judge_stream(self, *, whole: bool) -> Verdict | Failure | None:
        reader = self.reader
        assert reader is not None
        if reader.error is not None:
            return Failure(
                FailureKind.IN_STREAM_ERROR,
                detail=f"{reader.error.code}: {reader.error.message}"[:200],
                service_wide=reader.error.code == "overloaded_error",
            )
        if reader.overflow:
            return Failure(FailureKind.BAD_RESPONSE, detail="an event of the stream is too large")
        self.progress = reader.progress
        if self._terms.complete:
            if not whole:
                return self._too_large() if self._size > self._terms.max_held else None
            if reader.progress and not (reader.finished or not self._terms.shape.is_known):
                return Failure(FailureKind.TRUNCATED_STREAM, detail="the stream ended without a finish")
        if reader.progress:
            if whole and not (reader.finished or not self._terms.shape.is_known):
                return Failure(FailureKind.TRUNCATED_STREAM, detail="the stream ended without a finish")
            return OPEN
        if whole:
            return Failure(FailureKind.EMPTY_STREAM, detail="the stream ended before its first packet")
        silent = self._size - reader.pending  # the event that comes has a limit of its own
        if silent > self._terms.max_held:
            return Failure(FailureKind.BAD_RESPONSE, detail=f"no first packet in {silent} bytes")
        return None

    def _too_large(self) -> Failure:
        detail = f"over {self._terms.max_held} bytes, and the route holds whole answers back"
        return Failure(FailureKind.ANSWER_TOO_LARGE, detail=detail)

    def error(self) -> Verdict | Failure:
        """The failing status as a Failure, from as much of its body as there is; OPEN where it is the app's fault."""
        return self._classify(self.body()) or OPEN

    def _classify(self, body: bytes) -> Failure | None:
        head, terms = self.head, self._terms
        assert head is not None
        retry_after = retry_after_seconds(
            head.get(b"retry-after"), head.get(b"retry-after-ms"), wall_ns() / 1e9
        )
        return classify_status(
            head.status,
            body=body,
            retry_after=retry_after,
            own_credential=terms.own_credential,
            fallback_on=terms.fallback_on,
        )

    def _error_inside(self, body: bytes) -> Failure | None:
        """An error object where a 200 should bear an answer, as some gateways send it."""
        begin = body if len(body) <= SEARCHED else body[:SEARCHED]
        if find(begin, '"error"') < 0:
            return None
        assert self.head is not None
        if not self._terms.shape.is_known or self.head.status != 200:
            return None
        try:
            answer = json.loads(body)
        except ValueError:
            return None
        if (
            isinstance(answer, dict)
            and answer.get("error")
            and not ({"choices", "data", "output", "content"} & answer.keys())
        ):
            return Failure(FailureKind.IN_STREAM_ERROR, status=200, detail="an error object inside a 200")
        return None

    @property
    def awaits_error_body(self) -> bool:
        """A failing status is known and its body is being read."""
        return self._hold is ERROR and self.head is not None
