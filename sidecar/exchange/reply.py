"""The answer to the app, written: heads, framing, the sidecar's own errors.

In:      whom to answer, and the gate of the attempt that answers, or a failure.
Out:     bytes to the app's connection, counted in the record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.exchange.answers import (
    QUOTA_FIELDS,
    RETRIED_AND_QUOTA_FIELDS,
    RETRIED_FIELDS,
    answer_fields,
    local_answer,
    retried,
)
from sidecar.exchange.gate import Gate
from sidecar.exchange.relay import Relay, StreamRelay, framing_for
from sidecar.failure import Failure
from sidecar.wire.dialect import error_event
from sidecar.wire.framing import Walker
from sidecar.wire.rewrite import CHUNKED, UNTIL_CLOSE, content_length, downstream_answer, downstream_head
from sidecar.wire.usage import usage_of_answer

if TYPE_CHECKING:
    from sidecar.exchange.exchange import Exchange
    from sidecar.wire.heads import ResponseHead

NO_NAMES: Final[frozenset[bytes]] = frozenset()


def whole(exchange: Exchange, gate: Gate) -> None:
    """An answer that is here from its first to its last byte."""
    head, record, app = gate.head, exchange.record, exchange.app
    assert head is not None
    status = record.status = head.status
    keep_alive = app.keep_alive
    extra, instead = _own_fields(exchange, head, keep_alive=keep_alive)
    if status == 204 or status == 304 or record.method == "HEAD":
        length = None if status == 204 else gate.length  # 204 must not bear one (9110 8.6)
        framing = b"" if length is None else content_length(length)
        data = downstream_head(head, extra=extra, framing=framing, keep_alive=keep_alive, instead=instead)
    else:
        body = gate.body()
        if gate.reader is None and body:
            record.prompt_tokens, record.completion_tokens = usage_of_answer(body)
        data = downstream_answer(head, extra=extra, body=body, keep_alive=keep_alive, instead=instead)
    record.bytes_out += len(data)
    app.send(data)


def begin(exchange: Exchange, gate: Gate, walker: Walker) -> tuple[Relay | StreamRelay, bool]:
    """Head and held bytes of an answer that goes on; the relay writes the rest. Whether only the close of the app's
    connection will end it (HTTP/1.0)."""
    head, reader, record, app = gate.head, gate.reader, exchange.record, exchange.app
    assert head is not None
    record.status = head.status
    framing = framing_for(head, walker, minor=exchange.head.minor, stream=reader is not None)
    relay: Relay | StreamRelay
    if reader is not None:
        relay = StreamRelay(app.pass_on, walker, reader, exchange.lane.shape, framing, record)
    else:
        relay = Relay(app.send, walker, framing, record)
    field = content_length(gate.length or 0)
    if framing.chunked or framing.until_close:
        field = CHUNKED if framing.chunked else UNTIL_CLOSE
    keep_alive = app.keep_alive and not framing.until_close
    extra, instead = _own_fields(exchange, head, keep_alive=keep_alive)
    data = downstream_head(head, extra=extra, framing=field, keep_alive=keep_alive, instead=instead)
    data += relay.opening(gate.body())
    gate.payloads.clear()
    record.bytes_out += len(data)
    app.send(data)
    return relay, framing.until_close


def own(exchange: Exchange, failure: Failure) -> None:
    """The sidecar's own error."""
    record, app = exchange.record, exchange.app
    record.status, data = local_answer(exchange.lane.shape, failure, record, keep_alive=app.keep_alive)
    record.bytes_out += len(data)
    app.send(data)


def last_words(exchange: Exchange, gate: Gate, failure: Failure, relay: Relay | StreamRelay) -> None:
    """Tells the app in its dialect that its stream is broken, where that can still be said."""
    reader, record = gate.reader, exchange.record
    if reader is None:
        return
    event = error_event(
        exchange.lane.shape,
        failure.code,
        f"The stream of the LLM service broke ({failure.code})",
        record.request_id,
        response_id=reader.response_id,
        sequence_number=reader.events,
        created_at=record.started_wall // 1_000_000_000,
        model=record.model or "",
    )
    if words := relay.last_words(event):
        record.bytes_out += len(words)
        exchange.app.send(words)


def _own_fields(
    exchange: Exchange, head: ResponseHead, *, keep_alive: bool
) -> tuple[bytes, frozenset[bytes]]:
    """What the sidecar adds to the service's head, and of which fields it stands in the place."""
    record = exchange.record
    failed = head.status >= 400
    extra = answer_fields(record, failed=failed)
    instead = NO_NAMES
    if record.quota_fields:
        instead = RETRIED_AND_QUOTA_FIELDS if failed and retried(record) else QUOTA_FIELDS
    elif failed and retried(record):
        instead = RETRIED_FIELDS
    if keep_alive and exchange.head.minor == 0:
        extra += b"connection: keep-alive\r\n"  # HTTP/1.0 closes unless told otherwise
    return extra, instead
