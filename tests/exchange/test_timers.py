"""Deadlines of one length: in order, never early, and a waiter that is gone is not called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import floor
from random import Random
from statistics import median
from time import monotonic
from typing import Any, cast

import pytest
import uvloop
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.exchange.timers import Deadline, DeadlineQueue, Deadlines


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
        gone = queue.add("gone", began["a"])
        queue.add("b", began["b"])
        gone.clear()
        await asyncio.wait_for(over.wait(), 5)
        assert [waiter for waiter, _ in due] == ["a", "b"]
        for waiter, now in due:
            assert now >= began[waiter] + queue.length

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(test())


TICK = 0.001
WAKING = 0.00005  # from the end of a wait until a process runs


class UvTime:
    """libuv's clock and one timer, in invented time: both in whole milliseconds, and the wait for the timer takes as
    many as are left, from wherever it begins."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.rings = 0
        self._timer: tuple[int, Callable[[], object]] | None = None

    def call_at(self, when: float, callback: Callable[[], object]) -> object:
        assert self._timer is None, "one timer serves all"
        self._timer = round(when * 1000), callback
        return object()

    def run(self, until: float) -> None:
        """As it would if there were nothing else to do until then."""
        while self.now < until:
            woken = until
            if self._timer is not None:
                left = self._timer[0] - floor(self.now * 1000)
                woken = min(until, self.now + max(left, 0) * TICK + WAKING)
            self.now = woken
            if self._timer is not None and self._timer[0] <= floor(self.now * 1000):
                (_, callback), self._timer = self._timer, None
                self.rings += 1
                assert self.rings < 10_000, "the timer spins"
                callback()


def late(loop: UvTime, length: float) -> tuple[DeadlineQueue[str], list[float]]:
    """A queue whose waiters are called by their deadlines, and how late they were told."""
    found: list[float] = []

    def on_due(waiter: str, now: float) -> None:
        found.append(now - float(waiter))

    return DeadlineQueue(cast("Any", loop), length, on_due, clock=lambda: loop.now), found


@pytest.mark.parametrize("seed", range(20))
def test_an_idle_loop_is_woken_right_behind_a_deadline(seed: int) -> None:
    """Wherever within a millisecond the request came: its answer is waited for since then."""
    rng = Random(seed)
    loop = UvTime(1000.0 + rng.random())
    queue, found = late(loop, 0.2)
    for _ in range(50):
        queue.add(repr(loop.now + queue.length), loop.now)
        loop.run(loop.now + rng.uniform(0.3, 0.4))
    assert len(found) == 50
    assert min(found) >= 0.0
    assert max(found) < 2.5 * WAKING


@pytest.mark.parametrize("length", [0.2, 0.05, 0.0103, 0.0009])
@pytest.mark.parametrize("between", [0.0001, 0.003, 0.05])
def test_a_loop_with_other_work_is_woken_at_most_twice_for_a_deadline(length: float, between: float) -> None:
    """Its wait may have begun anywhere within a millisecond, and may begin anew just before one is over."""
    rng = Random(1)
    loop = UvTime(1000.0)
    queue, found = late(loop, length)
    for _ in range(2000):
        if rng.random() < 0.1:
            queue.add(repr(loop.now + length), loop.now)
        loop.run(loop.now + rng.expovariate(1 / between))
    loop.run(loop.now + length + 2 * TICK)
    assert len(found) > 150
    assert min(found) >= 0.0
    assert median(found) < TICK
    assert max(found) < 2 * TICK
    assert loop.rings <= 2 * len(found)


def test_uvloop_rings_at_most_twice_for_a_deadline() -> None:
    """As in the invented time of above; how late it is depends on the machine."""

    class Counting(uvloop.Loop):
        rings = 0

        def call_at(self, *args: Any, **more: Any) -> asyncio.TimerHandle:  # type: ignore[override]
            self.rings += 1
            return super().call_at(*args, **more)

    async def test() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Counting)
        over = asyncio.Event()
        queue = DeadlineQueue[int](loop, 0.003, lambda waiter, now: over.set())
        for number in range(30):
            over.clear()
            queue.add(number, monotonic())
            await over.wait()
        assert 30 <= loop.rings <= 60

    with asyncio.Runner(loop_factory=Counting) as runner:
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
        queue.add("a", began - 0.015).set(began)
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
                deadline.set(now)
            else:
                over.set()

        queue = DeadlineQueue[str](asyncio.get_running_loop(), 0.005, on_due)
        deadline = queue.add("a", monotonic())
        await asyncio.wait_for(over.wait(), 5)
        assert times == sorted(times)

    asyncio.run(test())


def test_one_that_waits_again_from_inside_its_deadline_holds_nobody_up() -> None:
    """A late request that goes on elsewhere begins to wait anew, while those that came just after it are still due."""
    loop = UvTime(1000.0)
    told: list[tuple[str, float]] = []

    def on_due(who: str, now: float) -> None:
        told.append((who, now - 1000.0))
        if len(told) == 1:
            queue.add(who, now)

    queue = DeadlineQueue[str](cast("Any", loop), 0.2, on_due, clock=lambda: loop.now)
    for number, who in enumerate("abc"):
        loop.run(1000.0 + 0.05 * number)
        queue.add(who, loop.now)
    loop.run(1001.0)
    assert [who for who, _ in told] == ["a", "b", "c", "a"]
    for (_, at), due in zip(told, (0.2, 0.25, 0.3, 0.4), strict=True):
        assert due <= at < due + 2 * TICK


STEP = 0.0625
LENGTH = 16.5 * STEP  # so none is due just when a step is made


@given(st.lists(st.tuples(st.sampled_from(("set", "clear", "wait")), st.integers(0, 4)), max_size=60))
def test_deadlines_are_those_of_a_list_that_is_searched(steps: list[tuple[str, int]]) -> None:
    """Wherever in the chain one is taken out or set anew."""
    loop = UvTime(1000.0)
    told: list[int] = []
    queue = DeadlineQueue[int](
        cast("Any", loop), LENGTH, lambda who, _: told.append(who), clock=lambda: loop.now
    )
    deadlines = [Deadline(queue, who) for who in range(5)]
    set_at: dict[int, float] = {}
    expected: list[int] = []
    for step, who in steps:
        loop.run(loop.now + STEP * (who if step == "wait" else 1))
        due = [one for one, at in set_at.items() if at + LENGTH <= loop.now]
        expected += due
        for one in due:
            del set_at[one]
        if step != "wait":
            set_at.pop(who, None)
        if step == "set":
            deadlines[who].set(loop.now)
            set_at[who] = loop.now
        elif step == "clear":
            deadlines[who].clear()
        assert len(queue) == len(set_at)
    loop.run(loop.now + 2.0)
    assert told == expected + list(set_at)
    assert [one.is_set for one in deadlines] == [False] * 5
    assert len(queue) == 0


DOES = st.lists(st.tuples(st.sampled_from(("set", "clear")), st.integers(0, 4)), max_size=3)


@given(
    st.lists(st.tuples(st.sampled_from(("set", "clear", "wait")), st.integers(0, 4)), max_size=40),
    st.lists(DOES, max_size=20),
)
@example(steps=[("set", 0), ("set", 1), ("set", 2), ("wait", 4)], inside=[[("set", 0)]])
@example(steps=[("set", 0), ("set", 1), ("wait", 2)], inside=[[("clear", 1)], [("set", 2)]])
def test_whatever_is_set_and_cleared_inside_a_deadline_nobody_is_early_or_lost(
    steps: list[tuple[str, int]], inside: list[list[tuple[str, int]]]
) -> None:
    """One's own, or another's, due in the same moment or not."""
    loop = UvTime(1000.0)
    set_at: dict[int, float] = {}  # in the order in which they are set
    to_do = iter(inside)

    def change(step: str, who: int, now: float) -> None:
        set_at.pop(who, None)
        if step == "set":
            deadlines[who].set(now)
            set_at[who] = now
        else:
            deadlines[who].clear()

    def on_due(who: int, now: float) -> None:
        assert who == next(iter(set_at)), "not the first"
        assert set_at.pop(who) + LENGTH <= now, "early"
        for step, other in next(to_do, ()):
            change(step, other, now)

    queue = DeadlineQueue[int](cast("Any", loop), LENGTH, on_due, clock=lambda: loop.now)
    deadlines = [Deadline(queue, who) for who in range(5)]
    for step, who in steps:
        loop.run(loop.now + STEP * (who * 4 if step == "wait" else 1))
        if step != "wait":
            change(step, who, loop.now)
        assert len(queue) == len(set_at)
        assert [one.is_set for one in deadlines] == [who in set_at for who in range(5)]
        assert all(at + LENGTH + 2 * TICK > loop.now for at in set_at.values()), "late or lost"
    loop.run(loop.now + LENGTH * (len(inside) + 2))
    assert len(queue) == len(set_at) == 0


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

    def call_at(self, *args: Any, **more: Any) -> asyncio.TimerHandle:  # type: ignore[override]
        self.timers.append(super().call_at(*args, **more))
        return self.timers[-1]


def test_a_forgotten_queue_leaves_no_timer_behind() -> None:
    """Apps set lengths of their own: each of them must not cost a timer of ten minutes."""
    loop = CountingLoop()
    deadlines = Deadlines[str](loop, lambda waiter, now: None)
    for number in range(1000):
        queue = deadlines.of(600.0 + number)
        queue.add("a", 0.0).clear()
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
        queue.add("gone", monotonic()).clear()
        queue.close()
        queue.add("late", monotonic())
        await asyncio.wait_for(over.wait(), 5)
        assert len(queue) == 0

    asyncio.run(test())
