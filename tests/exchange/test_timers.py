"""Deadlines of one length: in order, never early, and a waiter that is gone is not called."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import pytest
import uvloop

from sidecar.exchange.timers import DeadlineQueue, Deadlines


@pytest.mark.parametrize("loop_factory", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_deadlines_come_in_order_and_never_early(loop_factory) -> None:  # type: ignore[no-untyped-def]
    async def test() -> None:
        loop = asyncio.get_running_loop()
        due: list[tuple[str, float]] = []
        over = asyncio.Event()

        def on_due(waiter: str, now: float) -> None:
            due.append((waiter, now))
            if len(due) == 2:
                over.set()

        queue = DeadlineQueue[str](loop, 0.03, on_due)
        began = {"a": monotonic(), "b": monotonic() + 0.004}
        queue.add("a", began["a"])
        queue.add("gone", began["a"])
        queue.add("b", began["b"])
        queue.discard("gone")
        await asyncio.wait_for(over.wait(), 5)
        assert [waiter for waiter, _ in due] == ["a", "b"]
        for waiter, now in due:
            assert now >= began[waiter] + queue.length

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(test())


def test_a_waiter_that_starts_anew_is_due_once_and_later() -> None:
    async def test() -> None:
        due: list[float] = []
        over = asyncio.Event()

        def on_due(waiter: str, now: float) -> None:
            due.append(now)
            over.set()

        queue = DeadlineQueue[str](asyncio.get_running_loop(), 0.02, on_due)
        began = monotonic()
        queue.add("a", began - 0.015)
        queue.add("a", began)
        await asyncio.wait_for(over.wait(), 5)
        assert len(due) == 1
        assert due[0] >= began + 0.02
        assert len(queue) == 0

    asyncio.run(test())


def test_a_waiter_may_wait_again_from_inside_its_own_deadline() -> None:
    async def test() -> None:
        over = asyncio.Event()
        times: list[float] = []

        def on_due(waiter: str, now: float) -> None:
            times.append(now)
            if len(times) < 3:
                queue.add(waiter, now)
            else:
                over.set()

        queue = DeadlineQueue[str](asyncio.get_running_loop(), 0.005, on_due)
        queue.add("a", monotonic())
        await asyncio.wait_for(over.wait(), 5)
        assert times == sorted(times)

    asyncio.run(test())


def test_one_length_has_one_queue_and_empty_ones_are_forgotten() -> None:
    async def test() -> None:
        deadlines = Deadlines[str](asyncio.get_running_loop(), lambda waiter, now: None)
        used = deadlines.of(1.0)
        used.add("a", monotonic())
        for number in range(100):
            deadlines.of(2.0 + number)
        assert deadlines.of(1.0) is used

    asyncio.run(test())


class CountingLoop(asyncio.SelectorEventLoop):
    """Remembers its timers."""

    def __init__(self) -> None:
        super().__init__()
        self.timers: list[asyncio.TimerHandle] = []

    def call_later(self, *args: Any, **more: Any) -> asyncio.TimerHandle:  # type: ignore[override]
        self.timers.append(super().call_later(*args, **more))
        return self.timers[-1]


def test_a_forgotten_queue_leaves_no_timer_behind() -> None:
    """Apps set lengths of their own: each of them must not cost a timer of ten minutes."""
    loop = CountingLoop()
    deadlines = Deadlines[str](loop, lambda waiter, now: None)
    for number in range(1000):
        queue = deadlines.of(600.0 + number)
        queue.add("a", 0.0)
        queue.discard("a")
    assert len(loop.timers) == 1000
    assert sum(not timer.cancelled() for timer in loop.timers) <= 64
    loop.close()


def test_a_waiter_that_raises_takes_nobody_s_deadline_with_it() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        due: list[str] = []
        over = asyncio.Event()
        raised: list[BaseException] = []
        loop.set_exception_handler(lambda _, context: raised.append(context["exception"]))

        def on_due(waiter: str, now: float) -> None:
            due.append(waiter)
            if waiter == "bad":
                raise ZeroDivisionError
            over.set()

        queue = DeadlineQueue[str](loop, 0.01, on_due)
        now = monotonic()
        queue.add("bad", now)
        queue.add("good", now)
        await asyncio.wait_for(over.wait(), 5)
        assert due == ["bad", "good"]
        assert [type(e) for e in raised] == [ZeroDivisionError]

    asyncio.run(test())


def test_a_queue_that_was_forgotten_still_serves_those_who_hold_it() -> None:
    async def test() -> None:
        over = asyncio.Event()
        queue = DeadlineQueue[str](asyncio.get_running_loop(), 0.01, lambda waiter, now: over.set())
        queue.add("gone", monotonic())
        queue.discard("gone")
        queue.close()
        queue.add("late", monotonic())
        await asyncio.wait_for(over.wait(), 5)
        assert len(queue) == 0

    asyncio.run(test())
