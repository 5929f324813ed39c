"""One connection of the app: requests in, one at a time and in order; answers out.

In:      bytes of the app.
Out:     one Exchange a whole request; bytes of its answer.
Limits:  head, body, idle times and what may wait behind a running request: see Limits and AHEAD.
Errors:  a refusal answers with a JSON error and ends the connection, after the app has had time to read it.
Rule:    an app that ends its side of the connection has hung up: its request is cancelled in every phase (a
         half-close is not kept open, as Envoy and Go do it; nothing else tells us that nobody waits any more).
         While the app does not read, no further request of its begins: what it does not fetch stays bounded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Final, cast

from sidecar.downstream.admission import Refused
from sidecar.downstream.body_reader import BodyReader, too_large
from sidecar.downstream.peer import peer_uid
from sidecar.exchange.app import App
from sidecar.exchange.exchange import Exchange
from sidecar.outbox import Outbox
from sidecar.wire.head_cache import Likely
from sidecar.wire.head_cache import likely as likely_of
from sidecar.wire.heads import Refusal, RequestHead, head_end

if TYPE_CHECKING:
    from sidecar.downstream.listener import Listener
    from sidecar.exchange.timers import Deadline, DeadlineQueue

monotonic: Final = time.monotonic

AHEAD: Final = 64 * 1024  # of further requests while one runs; then reading pauses
# Read and thrown away after a refusal, so that the answer is not lost to a reset.
DISCARD: Final = 1024 * 1024
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class State(Enum):
    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    BUSY = "busy"
    LEAVING = "leaving"  # the last answer is sent; what still comes is thrown away


# Looked up by name all the time: of an Enum's class each look costs ten times as much.
IDLE: Final = State.IDLE
HEAD: Final = State.HEAD
BODY: Final = State.BODY
BUSY: Final = State.BUSY
LEAVING: Final = State.LEAVING


class AppConnection(App):
    """Speaks HTTP/1.x with the app; knows nothing of services.

    An asyncio.Protocol by its methods, which is all the loop asks for; with no base in plain
    Python it is compiled whole.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_discard",
        "_due",
        "_exchange",
        "_head",
        "_idle",
        "_last_head",
        "_likely",
        "_listener",
        "_outbox",
        "_seen",
        "_state",
        "_trace",
        "_transport",
        "_uid",
        "_unsent",
        "_unsent_due",
    )

    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self._listener = listener
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._state = IDLE
        self._buffer = b""
        self._seen = 0  # of the buffer, searched for the end of a head
        self._head: RequestHead | None = None
        self._last_head: RequestHead | None = None  # kept over requests
        self._likely: Likely[RequestHead] | None = None  # once a head has come twice in a row
        self._trace: bytes | None = None  # the request's traceparent
        self._body: BodyReader | None = None  # of a request that has not come whole
        self._discard = 0  # bytes that may still come while it leaves
        self._exchange: Exchange | None = None
        self._unsent = 0  # bytes of it, when last looked at
        # Looked at when it has come: the connection may be no longer idle.
        self._idle: Deadline[AppConnection] | None = None
        self._due: Deadline[AppConnection] | None = None  # of a head, a piece of a body, the app's leave
        self._unsent_due: Deadline[AppConnection] | None = None
        self._uid: str | None = None  # not asked for yet

    # -- as asyncio.Protocol --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._outbox = Outbox(self._listener.turn, self._transport)
        listener = self._listener
        if not listener.add(self):
            self._refuse(Refused(503, "overloaded", "Too many connections to the sidecar"))
            return
        self._idle = listener.idle.add(self, monotonic())

    def data_received(self, data: bytes) -> None:
        if self._state is IDLE and not self._buffer and not self.choked:
            self._buffer = data
            self._advance()
            return
        if self._state is LEAVING:
            self._discard -= len(data)
            if self._discard < 0:
                self._transport.abort()
            return
        self._buffer = self._buffer + data if self._buffer else data
        if self._state is BUSY or (self.choked and self._state is IDLE):
            if len(self._buffer) > AHEAD:
                self._transport.pause_reading()
            return
        self._advance()

    def eof_received(self) -> bool:
        if self._exchange is not None:
            self._transport.abort()  # nobody reads what a close would flush first
        else:
            self._close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.forget(self)
        self._forget_deadlines()
        self._state = LEAVING
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.app_gone()

    def pause_writing(self) -> None:
        self.choked = True
        self._watch_writes(monotonic())
        if self._exchange is not None:
            self._exchange.pause()

    def resume_writing(self) -> None:
        self.choked = False
        if self._unsent_due is not None:
            self._unsent_due.clear()
        if self._state is LEAVING:
            self._wait(self._listener.leaving)
        elif self._exchange is not None:
            self._exchange.resume()
        elif self._buffer:
            self._listener.loop.call_soon(self._next_request)

    # -- the exchange's view -----------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        self._outbox.send(data)

    @property
    def pass_on(self) -> Callable[[bytes], None]:
        return self._outbox.pass_on

    def answered(self, now: float, *, keep_alive: bool) -> None:
        self._exchange = None
        if not keep_alive:
            self._leave()
            return
        self._state = IDLE
        if self._idle is not None:
            self._idle.set(now)
        if self._buffer:
            self._listener.loop.call_soon(self._next_request)

    def broken(self) -> None:
        """Closing without the last chunk (or before Content-Length is reached) is what tells the app."""
        self._exchange = None
        self._close()

    def uid(self) -> str:
        """Of the process at the other end of a Unix socket; `tcp` elsewhere."""
        if self._uid is None:
            self._uid = peer_uid(self._transport)
        return self._uid

    # -- ends --------------------------------------------------------------------------------------------------

    def head_due(self, now: float) -> None:
        """The head, or the next piece of a body, has not come in time."""
        self._refuse(Refused(408, "bad_request", "The request was not complete in time"))

    def idle_due(self, now: float) -> None:
        if self._state is IDLE:
            self._close()

    def leaving_due(self, now: float) -> None:
        """The app has had its time to read the last answer; it gets more while there is some of it to fetch."""
        if self._transport.get_write_buffer_size():
            self._watch_writes(now)
        else:
            self._transport.abort()

    def write_due(self, now: float) -> None:
        """The app has not fetched what is written, or not all of it."""
        if 0 < self._transport.get_write_buffer_size() < self._unsent:
            self._watch_writes(now)
        else:
            self._transport.abort()

    def _watch_writes(self, now: float) -> None:
        self._unsent = self._transport.get_write_buffer_size()
        if self._unsent_due is None:
            self._unsent_due = self._listener.unsent.add(self, now)
        else:
            self._unsent_due.set(now)

    def _wait(self, queue: DeadlineQueue[AppConnection]) -> None:
        """For what has to come in so long a time."""
        self._wait_no_more()
        self._due = queue.add(self, monotonic())

    def _wait_no_more(self) -> None:
        if self._due is not None:
            self._due.clear()
            self._due = None

    def _forget_deadlines(self) -> None:
        self._wait_no_more()
        for deadline in (self._idle, self._unsent_due):
            if deadline is not None:
                deadline.clear()
        self._idle = self._unsent_due = None

    def _close(self) -> None:
        """Ends the connection once what is written has gone out, or when the app does not fetch it."""
        self._begin_to_leave()
        self._outbox.flush()
        self._transport.close()

    def close_if_idle(self) -> None:
        """Draining: a connection without a request ends now, another one after its answer."""
        self.keep_alive = False
        if self._state is IDLE:
            self._close()

    def end(self) -> None:
        """The sidecar stops."""
        self._transport.abort()

    # -- reading a request -------------------------------------------------------------------------------------

    def _next_request(self) -> None:
        if self._state is IDLE and self._buffer and not self.choked:
            self._transport.resume_reading()
            self._advance()

    def _advance(self) -> None:
        """Goes as far as the buffer allows: head, body, exchange."""
        first = self._state is IDLE
        if first:
            self._state = HEAD
            self._seen = 0
            self._head = None
        if self._state is HEAD:
            self._read_head(first=first)
        if self._state is BODY:
            self._read_body(first=first)
        if first and self._state is HEAD:
            self._wait(self._listener.head_due)

    def _read_head(self, *, first: bool) -> None:
        listener, buffer = self._listener, self._buffer
        end, likely = -1, self._likely
        if likely is not None:
            end, length = likely.match(buffer, listener.max_header)
        if likely is not None and end >= 0:  # as the one before, which was admitted
            head, self._trace = likely.head, None
            self._head = head
        else:
            end, length = self._search_head(buffer)
            if end < 0:
                return
            assert self._head is not None
            head = self._head
            if (refused := listener.admit(head)) is not None:
                self._buffer = buffer[end:]
                self._refuse(refused)
                return
        self.keep_alive = head.keep_alive and not listener.draining
        if first and head.at_once and len(buffer) == end + length and length <= listener.max_request_body:
            self._buffer = b""  # the usual request: all of it is here, and nothing else
            self._begin_exchange(head, buffer[end:])
            return
        self._buffer = buffer[end:]
        self._begin_body(head, length)

    def _search_head(self, buffer: bytes) -> tuple[int, int]:
        """Sets head and trace, and says where the head ends and how long a body it tells of; (-1, 0): it has not ended,
        or is refused."""
        listener = self._listener
        most = listener.max_header
        end = head_end(buffer, max(self._seen - 3, 0))
        if end < 0:
            self._seen = len(buffer)
        if end > most or (end < 0 and len(buffer) > most):
            self._refuse(Refused(431, "header_too_large", f"The head is over {most} bytes"))
            return -1, 0
        if end < 0:
            return -1, 0
        read = listener.heads.parse(buffer[:end])
        if isinstance(read, Refusal):
            self._refuse(Refused(read.status, read.code, read.why))
            return -1, 0
        head, length, self._trace = read
        if head is self._last_head and self._trace is None:  # a guess knows of none
            self._likely = likely_of(buffer[:end], head)
        self._head = self._last_head = head
        return end, length or 0

    def _begin_body(self, head: RequestHead, length: int) -> None:
        self._state = BODY
        most = self._listener.max_request_body
        if length > most:
            self._refuse(too_large(most))
            return
        if head.expect_continue and (head.chunked or length > len(self._buffer)):
            self.send(CONTINUE)
        self._body = BodyReader(None if head.chunked else length, most)

    def _read_body(self, *, first: bool) -> None:
        """`first`: this is the first read of the request, so no deadline of it runs yet."""
        body, head = self._body, self._head
        assert body is not None
        assert head is not None
        whole = body.feed(self._buffer)
        self._buffer = body.left_over
        if whole is None:
            self._wait(self._listener.body_due)
        elif isinstance(whole, Refused):
            self._refuse(whole)
        else:
            if not first:
                self._wait_no_more()
            self._body = None
            self._begin_exchange(head, whole)

    # -- handing over ------------------------------------------------------------------------------------------

    def _begin_exchange(self, head: RequestHead, body: bytes) -> None:
        self._state = BUSY
        result = self._listener.exchange_for(self, head, self._trace, body)
        if isinstance(result, Refused):
            self._listener.refuse(self, head, self._trace, result)
            return
        self._exchange = result
        result.begin()

    def _refuse(self, refused: Refused) -> None:
        """Answers, and ends the connection: what follows on it cannot be told from the refused request."""
        self.keep_alive = False
        self._listener.refuse(self, self._head, self._trace, refused)

    def _leave(self) -> None:
        """Sends what is written, then waits a little for the app to close: a reset would eat the answer."""
        self._begin_to_leave()
        self._outbox.flush()
        self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _begin_to_leave(self) -> None:
        self._state = LEAVING
        self._discard = DISCARD
        self._buffer = b""
        if self._idle is not None:
            self._idle.clear()
        self._wait(self._listener.leaving)
