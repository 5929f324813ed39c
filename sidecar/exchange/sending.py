"""The request as one attempt sends it, written: head, trace, key, body.

In:      the request of the app; the leg it takes, the span of the attempt, the key that is sent.
Out:     bytes for the endpoint.
Why:     written when a connection is there, and again when that one dies before its first byte: so nobody has to keep
         what was sent beside the replay buffer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.wire import traceparent
from sidecar.wire.request_body import with_model
from sidecar.wire.rewrite import upstream_request

if TYPE_CHECKING:
    from sidecar.exchange.exchange import Exchange
    from sidecar.exchange.keys import Field, Key
    from sidecar.exchange.lane import Leg

IN_ONE_WRITE: Final = 65536  # of a larger body no copy is made to send it behind its head


def written(
    exchange: Exchange, leg: Leg, span: bytes, key: Key | None, sent: Field | None
) -> tuple[bytes, bytes]:
    """What goes out first, and what behind it. Of the body only the model's name may differ from the app's."""
    record, body = exchange.record, exchange.body
    if leg.written_model is not None:
        body = with_model(body, exchange.model_span, leg.written_model)
    trace = traceparent.line(record.trace, span, sampled=record.sampled)
    if record.tracestate:
        trace += b"tracestate: %b\r\n" % record.tracestate.encode("latin-1")
    size = len(body)
    length = size if size or exchange.lane.counts_empty else None
    front = leg.front(exchange.head, key, sent)
    if size < IN_ONE_WRITE:
        return upstream_request(front, trace, length, body), b""
    return upstream_request(front, trace, length, b""), body
