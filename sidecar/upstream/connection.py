"""One connection to an endpoint; it carries one exchange at a time.

In:      bytes of the endpoint, handed to the `user` of the moment.
Out:     `user.received(data)` and at most one `user.lost(error)`.
Rule:    bytes or an end on an idle connection close it; whoever releases one vouches that its exchange was whole.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

from sidecar.outbox import Outbox

if TYPE_CHECKING:
    from sidecar.upstream.pool import EndpointPool


class User(Protocol):
    """The exchange's side of a connection."""

    def received(self, data: bytes) -> None: ...

    def lost(self, error: Exception | None) -> None:
        """The connection is gone; None: the endpoint ended it properly."""


class UpstreamConnection:
    """Made by EndpointPool.dial; idle while `user` is None. An asyncio.Protocol by its methods."""

    __slots__ = ("_outbox", "_paused", "_pool", "idle_since", "is_idle", "served", "transport", "user")

    def __init__(self, pool: EndpointPool) -> None:
        self._pool = pool
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)  # set before anyone sees us
        self.user: User | None = None
        self.served = 0  # whole exchanges so far
        self.is_idle = False  # in the pool, since then
        self.idle_since = 0.0
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._outbox: Outbox = Outbox(self._pool.turn, self.transport)

    def data_received(self, data: bytes) -> None:
        user = self.user
        if user is not None and self._outbox.unsent is None:
            user.received(data)
            return
        self.user = None
        if user is not None:  # these bytes came before its request went out: they answer somebody else's
            user.lost(ConnectionResetError("the endpoint spoke before it was asked"))
        self.abort()

    def eof_received(self) -> bool:
        user, self.user = self.user, None
        if user is not None:
            user.lost(None)
        self.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.forget(self)
        user, self.user = self.user, None
        if user is not None:
            user.lost(exc or ConnectionResetError("the endpoint closed the connection"))

    def send(self, data: bytes) -> None:
        """At the end of the loop's turn; over a new connection at once."""
        if self.served:
            self._outbox.send(data)
        else:
            self._pool.turn.urgent = True
            self.transport.write(data)

    def pause_writing(self) -> None:
        """What is to be sent is the app's request, which is here already: there is nobody to stop."""

    def resume_writing(self) -> None: ...

    def release(self, now: float) -> None:
        """The exchange was whole: the next one may use the connection."""
        self.user = None
        self.served += 1
        if self._outbox.unsent is not None or self.transport.get_write_buffer_size():
            self.abort()  # the answer came before the request was sent: its rest would meet the next exchange
            return
        if self._paused:
            self.resume()
        self._pool.put_back(self, now)

    def pause(self) -> None:
        """Reads no more until resume()."""
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    def abort(self) -> None:
        """Ends the connection at once, so that the LLM stops computing; `user` hears nothing any more."""
        self.user = None
        self._pool.forget(self)
        self.transport.abort()
