"""What connections have to write in one turn of the loop goes out together, at the end of the turn.

In:      bytes for a connection.
Out:     the same bytes, in order, in as few writes as possible, before the loop waits again.
Limits:  a connection keeps less than LARGE; what is larger is written at once, behind what was kept.
Why:     a write wakes its reader. Written one at a time, between two requests' worth of work, each finds its reader
         asleep again, and waking it costs more than the write. Written together, the first wakes it, and the rest find
         it at work: see docs/performance.md for what that gained.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from sidecar.pace import Pace

LARGE: Final = 16 * 1024

log: Final = logging.getLogger(__name__)


class Turn:
    """The outboxes that have something to send in this turn of the loop.

    One for all connections of a loop. `urgent`: somebody needs what is sent to go on, a request or an answer.
    """

    __slots__ = ("_at_end", "_call_soon", "_full", "_pace", "urgent")

    def __init__(self, loop: asyncio.AbstractEventLoop, pace: Pace | None = None) -> None:
        self._call_soon = loop.call_soon
        self._at_end = self._end  # a method, once looked up
        self._full: list[Outbox] = []
        self._pace = Pace() if pace is None else pace
        self.urgent = False

    def add(self, outbox: Outbox) -> None:
        if not self._full:
            self._call_soon(self._at_end)
        self._full.append(outbox)

    def _end(self) -> None:
        full, self._full = self._full, []
        for outbox in full:
            try:
                outbox.flush()
            except Exception:  # of one connection; the others' bytes go out all the same
                log.exception("a write failed")
                outbox.give_up()
        if self.urgent:
            self.urgent = False
        else:
            self._pace.passed_on(len(full))


class Outbox:
    """Of one connection. `unsent`: what it keeps; None: nothing, which is asked often and costs nothing to see."""

    __slots__ = ("_transport", "_turn", "unsent")

    def __init__(self, turn: Turn, transport: asyncio.WriteTransport) -> None:
        self._turn = turn
        self._transport = transport
        self.unsent: bytes | None = None

    def send(self, data: bytes) -> None:
        self._turn.urgent = True
        self.pass_on(data)

    def pass_on(self, data: bytes) -> None:
        """Sends a piece of a stream under way, which nobody needs in order to go on."""
        unsent, size = self.unsent, len(data)
        if unsent is not None:
            size += len(unsent)
        if size >= LARGE:
            self.flush()
            self._transport.write(data)
        elif unsent is not None:
            self.unsent = unsent + data
        elif size:
            self.unsent = data
            self._turn.add(self)

    def flush(self) -> None:
        """Writes what is kept now: before the connection is closed, or is asked whether it has sent everything."""
        unsent, self.unsent = self.unsent, None
        if unsent is None:
            return
        try:
            self._transport.write(unsent)
        except RuntimeError:
            if not self._transport.is_closing():
                raise  # else uvloop refuses because the connection has ended: there is nobody to send it to

    def give_up(self) -> None:
        """Ends the connection: with a hole in what it carries it must not go on."""
        self._transport.abort()
