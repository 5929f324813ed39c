"""Passes committed bytes on to the app.

In:      bytes of the endpoint after the commit.
Out:     writes to the app; WHOLE when the answer has ended as it should, a Failure when it broke, None to go on.
How:     bytes go on as they came while framing and events are walked beside them. Of an event stream only whole
         events go on: a read that ends inside one keeps the rest until it is complete, and the chunk around it is
         framed anew. So a stream that breaks can always be ended by an error event that the app's SDK understands.
Limits:  an unfinished event is kept up to KEEP_EVENT bytes, then goes on in pieces (and cannot be followed by an
         error event any more). One that is over the reader's limit goes no further, and ends the stream.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

from sidecar.failure import Failure, FailureKind
from sidecar.record import RequestRecord
from sidecar.wire.dialect import Shape
from sidecar.wire.first_packet import StreamReader
from sidecar.wire.framing import LAST_CHUNK, Walker, chunk
from sidecar.wire.heads import ResponseHead
from sidecar.wire.sse import event_ends

KEEP_EVENT: Final = 256 * 1024


class End(Enum):
    WHOLE = "whole"


WHOLE: Final = End.WHOLE


class Framing(NamedTuple):
    """How the app's side frames the body: by chunks, or else by Content-Length or the close of the connection."""

    chunked: bool
    verbatim: bool  # the endpoint's own chunks are passed on
    until_close: bool


def framing_for(head: ResponseHead, walker: Walker, *, minor: int, stream: bool) -> Framing:
    """The framing of an answer that is not whole at its commit. `minor`: of the app's HTTP/1.x."""
    if head.content_length is not None and not stream:
        return Framing(chunked=False, verbatim=False, until_close=False)
    if minor == 0:
        return Framing(chunked=False, verbatim=False, until_close=True)
    return Framing(
        chunked=True, verbatim=head.chunked and (stream or walker.between_chunks), until_close=False
    )


class Relay:
    """One committed answer without events."""

    __slots__ = ("_chunked", "_record", "_verbatim", "_walker", "_write")

    def __init__(
        self, write: Callable[[bytes], None], walker: Walker, framing: Framing, record: RequestRecord
    ) -> None:
        self._write = write
        self._record = record  # counts what is written
        self._walker = walker
        self._chunked = framing.chunked
        self._verbatim = framing.verbatim

    def opening(self, payload: bytes) -> bytes:
        """The bytes that follow the head: what was held, in the app's framing."""
        return chunk(payload) if payload and self._chunked else payload

    def received(self, data: bytes) -> End | Failure | None:
        walker = self._walker
        payload = walker.feed(data)
        if walker.broken is not None:
            return Failure(FailureKind.BAD_RESPONSE, detail=walker.broken)
        if self._verbatim:
            self._send(data[: -len(walker.left_over)] if walker.left_over else data)
        elif payload:
            self._send(chunk(payload) if self._chunked else payload)
        return self._finish() if walker.done else None

    def ended(self) -> End | Failure:
        """The endpoint closed the connection properly."""
        why = self._walker.eof()
        if why is not None:
            return Failure(FailureKind.TRUNCATED_STREAM, detail=why)
        return self._finish()

    def cut(self, why: str) -> End | Failure:
        """The connection broke."""
        return Failure(FailureKind.RESET, detail=why)

    def last_words(self, event: bytes) -> bytes:
        """What may still be sent to tell the app of a break: nothing here."""
        return b""

    def _finish(self) -> End:
        if self._chunked and not self._verbatim:
            self._send(LAST_CHUNK)
        return WHOLE

    def _send(self, data: bytes) -> None:
        self._record.bytes_out += len(data)
        self._write(data)


class StreamRelay:
    """One committed event stream."""

    __slots__ = (
        "_aligned",
        "_chunked",
        "_inside_event",
        "_kept",
        "_reader",
        "_record",
        "_shape",
        "_verbatim",
        "_walker",
        "_write",
    )

    def __init__(
        self,
        write: Callable[[bytes], None],
        walker: Walker,
        reader: StreamReader,
        shape: Shape,
        framing: Framing,
        record: RequestRecord,
    ) -> None:
        self._write = write
        self._record = record  # counts what is written
        self._walker = walker
        self._reader = reader
        self._shape = shape
        self._chunked = framing.chunked
        self._verbatim = framing.verbatim
        self._aligned = walker.between_chunks
        self._kept = b""  # of an event that is not complete
        self._inside_event = False  # part of an event has gone on already

    def opening(self, payload: bytes) -> bytes:
        """The bytes that follow the head: the whole events of what was held, in the app's framing."""
        whole = self._whole_events(payload)
        return chunk(whole) if self._chunked and whole else whole

    def received(self, data: bytes) -> End | Failure | None:
        walker, reader = self._walker, self._reader
        payload = walker.feed(data)
        plain = reader.feed(payload)
        if plain and self._verbatim and self._aligned and walker.between_chunks and len(self._kept) == 0:
            self._inside_event = False
            self._record.bytes_out += len(data)
            self._write(data)
            return None
        self._aligned = walker.between_chunks
        whole = self._whole_events(payload)
        if reader.error is not None:
            whole = self._up_to_error(whole)
        if whole:
            self._send(chunk(whole) if self._chunked else whole)
        return self._judge()

    def ended(self) -> End | Failure:
        """The endpoint closed the connection; after a finish that is as good as an end."""
        if self._walker.eof() is None or self._reader.finished:
            return self._finish()
        return Failure(FailureKind.TRUNCATED_STREAM, detail="the connection ended inside the stream")

    def cut(self, why: str) -> End | Failure:
        """The connection broke; after a finish nothing is missing."""
        return self._finish() if self._reader.finished else Failure(FailureKind.RESET, detail=why)

    def last_words(self, event: bytes) -> bytes:
        """The dialect's error event in the app's framing; nothing where half an event has gone before it."""
        if (
            self._inside_event or self._reader.error is not None
        ):  # the endpoint's own error has gone on already
            return b""
        return chunk(event) if self._chunked else event

    def _judge(self) -> End | Failure | None:
        walker, reader = self._walker, self._reader
        if reader.error is not None:
            detail = f"{reader.error.code}: {reader.error.message}"
            return Failure(FailureKind.IN_STREAM_ERROR, detail=detail[:200])
        if walker.broken is not None:
            return Failure(FailureKind.BAD_RESPONSE, detail=walker.broken)
        if reader.overflow:
            return Failure(FailureKind.BAD_RESPONSE, detail="an event of the stream is too large")
        return self._finish() if walker.done else None

    def _finish(self) -> End | Failure:
        if not self._reader.finished and self._shape.is_known:
            return Failure(FailureKind.TRUNCATED_STREAM, detail="the stream ended without a finish")
        rest, self._kept = self._kept, b""
        if self._chunked:
            self._send(chunk(rest) + LAST_CHUNK if rest else LAST_CHUNK)
        elif rest:
            self._send(rest)
        return WHOLE

    def _send(self, data: bytes) -> None:
        self._record.bytes_out += len(data)
        self._write(data)

    def _whole_events(self, payload: bytes) -> bytes:
        """Kept bytes and payload up to the last event boundary; the rest is kept."""
        data = self._kept + payload if self._kept else payload
        pending = self._reader.pending
        if not pending:
            self._kept = b""
            self._inside_event = False
            return data
        if pending > KEEP_EVENT and not self._reader.overflow:
            self._kept = b""
            self._inside_event = True
            return data
        split = max(len(data) - pending, 0)
        if split:
            self._inside_event = False
        self._kept = data[split:]
        return data[:split]

    def _up_to_error(self, events: bytes) -> bytes:
        """The endpoint's own error ends the stream: the [DONE] that vLLM sends after it would be a clean end."""
        reader, begin = StreamReader(self._shape, max_event=len(events)), 0
        for end in event_ends(events):
            reader.feed(events[begin:end])
            if reader.error is not None:
                return events[:end]
            begin = end
        return events
