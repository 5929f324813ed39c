"""The answer to the app, written: heads, framing, the sidecar's own errors.

In:      the gate of the attempt that answers, or a failure.
Out:     bytes to the app's connection, counted in the record; then `answered` or `broken`, once.
"""

from __future__ import annotations

from typing import Protocol

from sidecar.exchange.answers import RETRIED_FIELDS, answer_fields, local_answer, retried
from sidecar.exchange.gate import Gate
from sidecar.exchange.relay import Relay, StreamRelay, framing_for
from sidecar.failure import Failure
from sidecar.record import RequestRecord
from sidecar.wire.dialect import Shape, error_event
from sidecar.wire.framing import Walker
from sidecar.wire.heads import RequestHead
from sidecar.wire.rewrite import CHUNKED, UNTIL_CLOSE, content_length, downstream_head
from sidecar.wire.usage import usage_of_answer


class App(Protocol):
    """The app's connection, as an exchange sees it."""

    @property
    def keep_alive(self) -> bool:
        """The connection may carry another request after this one."""

    def send(self, data: bytes) -> None: ...

    def answered(self, *, keep_alive: bool) -> None:
        """The answer has ended as it should."""

    def broken(self) -> None:
        """The answer cannot be ended as it should: what was sent goes out, then the connection ends."""


class Reply:
    """Writes one answer."""

    __slots__ = ("_app", "_head", "_record", "_shape", "_until_close")

    def __init__(self, app: App, head: RequestHead, record: RequestRecord, shape: Shape) -> None:
        self._app = app
        self._head = head
        self._record = record
        self._shape = shape
        self._until_close = False  # the answer ends with the connection (HTTP/1.0)

    def send(self, data: bytes) -> None:
        self._record.bytes_out += len(data)
        self._app.send(data)

    def whole(self, gate: Gate) -> None:
        """An answer that is here from its first to its last byte."""
        head, record = gate.head, self._record
        assert head is not None
        record.status = head.status
        body = gate.body()
        if self._head.method == "HEAD" or head.status in (204, 304):
            length = None if head.status == 204 else head.content_length  # 204 must not bear one (9110 8.6)
            field = b"" if length is None else content_length(length)
            body = b""
        else:
            field = content_length(len(body))
        if gate.reader is None and body:
            record.prompt_tokens, record.completion_tokens = usage_of_answer(body)
        self.send(self._head_bytes(gate, field, keep_alive=self._app.keep_alive) + body)

    def begin(self, gate: Gate, walker: Walker) -> Relay | StreamRelay:
        """Head and held bytes of an answer that goes on; the relay writes the rest."""
        head, reader = gate.head, gate.reader
        assert head is not None
        self._record.status = head.status
        framing = framing_for(head, walker, minor=self._head.minor, stream=reader is not None)
        relay: Relay | StreamRelay
        if reader is not None:
            relay = StreamRelay(self.send, walker, reader, self._shape, framing)
        else:
            relay = Relay(self.send, walker, framing)
        if framing.chunked:
            field = CHUNKED
        else:
            field = UNTIL_CLOSE if framing.until_close else content_length(head.content_length or 0)
        self._until_close = framing.until_close
        keep_alive = self._app.keep_alive and not framing.until_close
        self.send(self._head_bytes(gate, field, keep_alive=keep_alive) + relay.opening(gate.body()))
        gate.payloads.clear()
        return relay

    def own(self, failure: Failure) -> None:
        """The sidecar's own error."""
        keep_alive = self._app.keep_alive
        self._record.status, data = local_answer(self._shape, failure, self._record, keep_alive=keep_alive)
        self.send(data)

    def last_words(self, gate: Gate, failure: Failure, relay: Relay | StreamRelay) -> None:
        """Tells the app in its dialect that its stream is broken, where that can still be said."""
        reader, record = gate.reader, self._record
        if reader is None:
            return
        event = error_event(
            self._shape,
            failure.code,
            f"The stream of the LLM service broke ({failure.code})",
            record.request_id,
            response_id=reader.response_id,
            sequence_number=reader.events,
            created_at=record.started_wall // 1_000_000_000,
            model=record.model or "",
        )
        if words := relay.last_words(event):
            self.send(words)

    def finish(self) -> None:
        """The answer has ended as it should."""
        self._app.answered(keep_alive=self._app.keep_alive and not self._until_close)

    def break_off(self) -> None:
        """It has not, and the app shall see that."""
        self._app.broken()

    def _head_bytes(self, gate: Gate, framing: bytes, *, keep_alive: bool) -> bytes:
        head = gate.head
        assert head is not None
        failed = head.status >= 400
        extra = answer_fields(self._record, failed=failed)
        instead = RETRIED_FIELDS if failed and retried(self._record) else frozenset()
        if keep_alive and self._head.minor == 0:
            extra += b"connection: keep-alive\r\n"  # HTTP/1.0 closes unless told otherwise
        return downstream_head(head, extra=extra, framing=framing, keep_alive=keep_alive, instead=instead)
