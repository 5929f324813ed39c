"""The clocks of one attempt: whatever it waits for has its time here, and all of it ends together.

In:      the turning points of the attempt, each with `now`.
Out:     what every attempt waits for stands in the queues of Clocks and comes to the attempt from there (`total_due`,
         …). What only some wait for has a timer of its own, which calls what was handed in with it.
Rule:    whatever waits here knows the attempt, and the attempt knows its watch: `end` lets go of all of it, or both
         would be left to the garbage collector.
Units:   monotonic seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sidecar.exchange.silence import Silence

if TYPE_CHECKING:
    from sidecar.exchange.clocks import Waiter
    from sidecar.exchange.runtime import ServiceRuntime
    from sidecar.exchange.timers import Deadline, DeadlineQueue

ERROR_BODY_GRACE: Final = 1.0  # for the rest of an error's body; then it counts without it


class Watch:
    """Over one attempt, from its beginning to its end. `silence`: of its answer, once that has begun."""

    __slots__ = ("_deadline", "_first_packet", "_grace", "_hedge", "_loop", "_soft", "_total", "silence")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        attempt: Waiter,
        service: ServiceRuntime,
        hedge: DeadlineQueue[Waiter] | None,
        body_bytes: int,
        now: float,
        *,
        stream: bool,
    ) -> None:
        """The attempt begins to wait. `hedge`: where its route hedges. `stream`: one is asked for."""
        self._loop = loop
        self._total: Deadline[Waiter] | None = service.total.add(attempt, now)
        self._first_packet: Deadline[Waiter] | None  # of the whole answer, where no stream is asked for
        self._soft: Deadline[Waiter] | None = None
        self._hedge: Deadline[Waiter] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._grace: asyncio.TimerHandle | None = None
        self.silence: Silence | None = None
        if not stream:
            self._first_packet = service.whole_answer.add(attempt, now)
            return
        self._first_packet = service.first_packet(body_bytes).add(attempt, now)
        if (soft := service.soft(body_bytes)) is not None:
            self._soft = soft.add(attempt, now)
        if hedge is not None:
            self._hedge = hedge.add(attempt, now)

    def stop_waiting(self) -> None:
        """Its first packet is here, or it has none to wait for any more."""
        if self._first_packet is None:
            return
        self._first_packet.clear()
        if self._soft is not None:
            self._soft.clear()
        if self._hedge is not None:
            self._hedge.clear()
        self._first_packet = self._soft = self._hedge = None

    def commit(self) -> None:
        """It answers the app: its beginning is not waited for any more, nor is the share of a deadline that it had."""
        self.stop_waiting()
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def end(self) -> None:
        self.commit()
        if self._total is not None:
            self._total.clear()
            self._total = None
        if self.silence is not None:
            self.silence.stop()
            self.silence = None

    # -- timers of its own -----------------------------------------------------------------------------------

    def set_deadline(self, at: float, now: float, passed: Callable[[], None]) -> None:
        """Until its commit that is its share of the request's, from then on the request's own."""
        self._deadline = self._loop.call_later(max(at - now, 0.0), passed)

    def await_error_body(self, over: Callable[[], None]) -> None:
        """An error has come whose body has not; told as often as one likes."""
        if self._grace is None:
            self._grace = self._loop.call_later(ERROR_BODY_GRACE, over)

    def listen(self, length: float, fell_silent: Callable[[], None], now: float) -> None:
        """The answer has begun: no packet may be `length` behind the one before; told as often as one likes."""
        if self.silence is None:
            self.silence = Silence(self._loop, length, fell_silent, now)
