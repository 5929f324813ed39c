"""Every deadline of an attempt, by its purpose; and the wall clock, read in this one place.

In:      attempts that begin or go on to wait; requests whose app will not wait for ever.
Out:     `first_packet_due`, `soft_due`, `hedge_due`, `response_due`, `total_due` of the attempt,
         `patience_due` of the request, each with `now`.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol

from sidecar.exchange.timers import Deadlines

time_ns: Final = time.time_ns


class Waiter(Protocol):
    """An attempt, as its clocks see it."""

    def first_packet_due(self, now: float) -> None: ...

    def soft_due(self, now: float) -> None: ...

    def hedge_due(self, now: float) -> None: ...

    def response_due(self, now: float) -> None: ...

    def total_due(self, now: float) -> None: ...


class Asker(Protocol):
    """A request, as its clock sees it."""

    def patience_due(self, now: float) -> None: ...


class Clocks:
    """The deadlines of all attempts, and those that apps have set."""

    __slots__ = ("first_packet", "hedge", "patience", "response", "soft", "total")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.first_packet = Deadlines[Waiter](loop, lambda waiter, now: waiter.first_packet_due(now))
        self.soft = Deadlines[Waiter](loop, lambda waiter, now: waiter.soft_due(now))
        self.hedge = Deadlines[Waiter](loop, lambda waiter, now: waiter.hedge_due(now))
        self.response = Deadlines[Waiter](loop, lambda waiter, now: waiter.response_due(now))
        self.total = Deadlines[Waiter](loop, lambda waiter, now: waiter.total_due(now))
        self.patience = Deadlines[Asker](loop, lambda asker, now: asker.patience_due(now))


def wall_ns() -> int:
    """Unix time in nanoseconds."""
    return time_ns()
