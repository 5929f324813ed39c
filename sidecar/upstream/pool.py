"""Connections to one endpoint: the idle ones, and how to get a new one.

In:      acquire() for an idle connection; dial() for a new one.
Out:     a connection, or a Failure by its cause.
Limits:  at most MAX_IDLE idle connections, each for at most IDLE_SECONDS. The newest is used first, so that
         those a surge has left behind grow old and go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

from sidecar.failure import Failure
from sidecar.outbox import Turn
from sidecar.terms import Address
from sidecar.upstream.connection import UpstreamConnection
from sidecar.upstream.dial import Dial, dial
from sidecar.upstream.tls import TlsReader

MAX_IDLE: Final = 128
# Below the usual 60 s of load balancers; a server with less (uvicorn: 5 s) just closes first.
IDLE_SECONDS: Final = 55.0


class EndpointPool:
    """All connections of one endpoint."""

    __slots__ = (
        "_dials",
        "_idle",
        "_idle_seconds",
        "_loop",
        "_max_idle",
        "_server_name",
        "_sweep",
        "_tls",
        "address",
        "closed",
        "turn",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        turn: Turn,
        address: Address,
        tls: TlsReader | None = None,
        server_name: str | None = None,
        *,
        max_idle: int = MAX_IDLE,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._loop = loop
        self.turn = turn
        self.address = address
        self._tls = tls
        self._server_name = server_name
        self._max_idle = max_idle
        self._idle_seconds = idle_seconds
        self._idle: list[UpstreamConnection] = []  # oldest first
        self._dials: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self.closed = False

    def acquire(self, now: float) -> UpstreamConnection | None:
        """The idle connection used last, or None."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            connection.is_idle = False
            if now - connection.idle_since < self._idle_seconds and not connection.transport.is_closing():
                return connection
            connection.abort()
        return None

    def put_back(self, connection: UpstreamConnection, now: float) -> None:
        if self.closed:
            connection.abort()
            return
        idle = self._idle
        idle.append(connection)
        connection.is_idle, connection.idle_since = True, now
        if len(idle) > self._max_idle:
            idle[0].abort()
        if self._sweep is None:
            self._sweep = self._loop.call_later(self._idle_seconds, self._close_aged)

    def forget(self, connection: UpstreamConnection) -> None:
        if connection.is_idle:
            connection.is_idle = False
            self._idle.remove(connection)

    def close(self) -> None:
        """Ends what is idle; what is in use ends after its exchange."""
        self.closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in list(self._idle):
            connection.abort()

    def _close_aged(self) -> None:
        """Ends what nobody has asked for in its time; in a quiet hour nothing else would."""
        self._sweep = None
        now = monotonic()
        for connection in list(self._idle):
            left = connection.idle_since + self._idle_seconds - now
            if left > 0.0:
                self._sweep = self._loop.call_later(left, self._close_aged)
                return
            connection.abort()

    def dial(self, timeout: float, done: Callable[[UpstreamConnection | Failure], None]) -> Dial:
        """Opens a new connection; calls `done` once, with it or with why there is none."""
        self.turn.urgent = True  # no rest before it begins
        connection = UpstreamConnection(self)
        dialling = dial(self._loop, self.address, self._tls, self._server_name, connection, timeout, done)
        task = self._loop.create_task(dialling)
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)
        return Dial(task)
