"""A whole answer under fuzzing: an endpoint's bytes through gate and relay, as an attempt drives them.

In:      one byte that chooses the terms (`SETTINGS`), then the bytes of a connection, which closes or is reset.
Out:     Seen: what the app would get.
Errors:  AssertionError where the app is told of a whole answer that was none, or of none where there was one;
         where its framing does not parse; where its error event would not be read; where a split decides.
"""

from __future__ import annotations

from typing import NamedTuple

from sidecar.exchange.gate import OPEN, Gate, Terms
from sidecar.exchange.relay import WHOLE, Framing, Relay, StreamRelay, framing_for
from sidecar.failure import Failure
from sidecar.record import RequestRecord
from sidecar.wire.dialect import Shape
from sidecar.wire.first_packet import StreamReader
from sidecar.wire.framing import Chunked, response_walker
from sidecar.wire.head_cache import ResponseHeads
from sidecar.wire.heads import head_end, parse_response_head
from sidecar.wire.sse import Event, EventReader
from tests.fuzz.ways import ways

_ERROR = b'{"error":{"code":"cut"}}'
_LAST_WORDS = b"data: " + _ERROR + b"\n\n"
_FALLBACK_ON = frozenset(("5xx", "429", "in_stream_error", "context_length"))


class Setting(NamedTuple):
    shape: Shape
    first_packet_is: str | None
    complete: bool
    minor: int  # of the app's HTTP/1.x
    method: str


SETTINGS = [  # by their places in kept inputs: new ones come last
    *(Setting(shape, None, False, 1, "POST") for shape in Shape if shape is not Shape.BESIDE_MESSAGES),
    *(Setting(Shape.CHAT, word, False, 1, "POST") for word in ("event", "body", "headers")),
    *(Setting(shape, None, True, 1, "POST") for shape in (Shape.CHAT, Shape.MESSAGES, Shape.OTHER)),
    Setting(Shape.CHAT, None, False, 0, "POST"),
    Setting(Shape.OTHER, None, False, 0, "GET"),
    Setting(Shape.OTHER, None, False, 1, "HEAD"),
    Setting(Shape.OTHER, "headers", False, 1, "GET"),
    Setting(Shape.RESPONSES, "event", True, 0, "POST"),
    Setting(Shape.BESIDE_MESSAGES, None, False, 1, "POST"),
]


class Seen(NamedTuple):
    """What the app gets: whole or not, in this framing (None: with its length, all at once)."""

    whole: bool
    opened: bool
    sent: bytes
    framing: Framing | None
    length: int | None
    stream: bool


class Plain(NamedTuple):
    """What all the bytes say when they are read at once."""

    payload: bytes
    done: bool  # as its framing says
    may_close: bool  # the close of the connection is a proper end
    finished: bool  # its events say that the answer is whole


class Path:
    """One attempt's bytes on their way, driven as sidecar.exchange.attempt drives them."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._gate = Gate(
            Terms(
                method=setting.method,
                shape=setting.shape,
                stream=True,
                first_packet_is=setting.first_packet_is,
                complete=setting.complete,
                own_credential=False,
                fallback_on=_FALLBACK_ON,
                heads=ResponseHeads(),
            )
        )
        self._sent: list[bytes] = []
        self._record = RequestRecord(b"%032x" % 1, b"%016x" % 1, 0.0, 0)
        self._framing: Framing | None = None
        self._relay: Relay | StreamRelay | None = None
        self.seen: Seen | None = None

    def received(self, data: bytes) -> None:
        if self._relay is not None:
            self._relayed(self._relay.received(data))
        else:
            self._gated(self._gate.feed(data), connected=True)

    def closed(self) -> None:
        if self._relay is not None:
            self._relayed(self._relay.ended())
        else:
            self._gated(self._gate.ended(), connected=False)

    def reset(self) -> None:
        if self._relay is not None:
            self._relayed(self._relay.cut("reset"))
        else:
            self._end(whole=False)

    def _gated(self, result: object, *, connected: bool) -> None:
        if isinstance(result, Failure):
            self._end(whole=False)
        elif result is OPEN:
            self._open(connected=connected)

    def _open(self, *, connected: bool) -> None:
        gate, setting = self._gate, self._setting
        head, walker = gate.head, gate.walker
        assert head is not None
        if gate.is_complete or not connected:
            self._sent.append(gate.body())
            self._end(whole=True)
            return
        assert walker is not None
        self._framing = framing = framing_for(
            head, walker, minor=setting.minor, stream=gate.reader is not None
        )
        if gate.reader is not None:
            self._relay = StreamRelay(
                self._sent.append, walker, gate.reader, setting.shape, framing, self._record
            )
        else:
            self._relay = Relay(self._sent.append, walker, framing, self._record)
        self._sent.append(self._relay.opening(gate.body()))

    def _relayed(self, result: object) -> None:
        if isinstance(result, Failure):
            assert self._relay is not None
            self._sent.append(self._relay.last_words(_LAST_WORDS))
            self._end(whole=False)
        elif result is WHOLE:
            self._end(whole=True)

    def _end(self, *, whole: bool) -> None:
        self.seen = Seen(
            whole,
            whole or self._relay is not None,
            b"".join(self._sent),
            self._framing,
            self._gate.length,
            self._gate.reader is not None,
        )


def answer(data: bytes) -> None:
    setting, data = SETTINGS[(data[0] - ord("0")) % len(SETTINGS) if data else 0], data[1:]
    plain = _plain_reading(setting, data)
    for reset in (False, True):
        seen = [_carry(setting, pieces, reset=reset) for pieces in ways(data)]
        for one in seen:
            _is_framed(one)
            _is_honest(one, setting.shape, plain, reset=reset)
        verdicts = {(one.whole, _payload(one) if one.whole else b"") for one in seen}
        assert len(verdicts) == 1, [one.whole for one in seen]


def _carry(setting: Setting, pieces: list[bytes], *, reset: bool) -> Seen:
    path = Path(setting)
    for piece in pieces:
        path.received(piece)
        if path.seen is not None:
            return path.seen
    if reset:
        path.reset()
    else:
        path.closed()
    assert path.seen is not None
    return path.seen


def _is_framed(seen: Seen) -> None:
    """The app can read what it got, and its end is proper exactly where the answer is whole."""
    if not seen.opened:
        assert not seen.sent, "bytes of an attempt that never opened"
    elif seen.framing is None or seen.framing.until_close:
        pass  # its length is that of what is sent; an app of HTTP/1.0 cannot tell a cut from an end
    elif seen.framing.chunked:
        walker = Chunked()
        walker.feed(seen.sent)
        assert (walker.broken, walker.left_over) == (None, b"")
        assert walker.done is seen.whole
    else:
        assert seen.length is not None
        assert (len(seen.sent) == seen.length) is seen.whole
        assert len(seen.sent) <= seen.length


def _payload(seen: Seen) -> bytes:
    return Chunked().feed(seen.sent) if seen.framing is not None and seen.framing.chunked else seen.sent


def _is_honest(seen: Seen, shape: Shape, plain: Plain | None, *, reset: bool) -> None:
    """Against a plain reading of all the bytes: nothing is made up, nothing cut is called whole."""
    if plain is None:
        assert not seen.opened
        return
    got = _payload(seen)
    if seen.whole:
        assert got == plain.payload
        assert plain.done or (plain.may_close and not reset) or (seen.stream and plain.finished)
        assert plain.finished or not seen.stream or shape in (Shape.OTHER, Shape.BESIDE_MESSAGES)
    elif not plain.payload.startswith(got):
        assert seen.stream
        assert plain.payload.startswith(got.removesuffix(_LAST_WORDS))
        assert EventReader().feed(got)[-1] == Event(None, _ERROR), "the app would not see the error"


def _plain_reading(setting: Setting, data: bytes) -> Plain | None:
    """The first real response in the data; None: there is none."""
    while (end := head_end(data)) >= 0:
        head = parse_response_head(data[:end])
        if isinstance(head, str):
            return None
        data = data[end:]
        if head.status >= 200:
            walker = response_walker(head, setting.method, head.content_length)
            payload = walker.feed(data)
            reader = StreamReader(setting.shape)
            reader.feed(payload)
            finished = reader.finished and reader.error is None
            return Plain(payload, walker.done, walker.eof() is None, finished)
    return None
