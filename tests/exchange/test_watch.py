"""The clocks of one attempt: what waits until when, and that nothing does after the end."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from random import Random

import pytest

from sidecar.exchange.clocks import Clocks, Waiter
from sidecar.exchange.runtime import ServiceRuntime, Shared
from sidecar.exchange.timers import DeadlineQueue
from sidecar.exchange.watch import Watch
from sidecar.frozen import replace
from sidecar.health.ledger import Ledger
from sidecar.policy.snapshot import Timeouts
from sidecar.record import Attempts
from sidecar.telemetry.sinks import Sinks
from tests.health.script import service_of


class Waits:
    """An attempt, as its clocks see it."""

    def __init__(self) -> None:
        self.watch: Watch | None = None

    def first_packet_due(self, now: float) -> None: ...

    def soft_due(self, now: float) -> None: ...

    def hedge_due(self, now: float) -> None: ...

    def response_due(self, now: float) -> None: ...

    def total_due(self, now: float) -> None: ...

    def told(self) -> None: ...


class Stage:
    """Deadlines that are all longer than a test, and the queues they stand in."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.clocks = clocks = Clocks(loop)
        ledger = Ledger(Random(1))
        shared = Shared(
            loop, ledger, Random(1), clocks, Sinks(()), Attempts(lambda _, __: None), lambda events: None
        )
        timeouts = Timeouts(first_packet=60.0, first_packet_soft=50.0, response=70.0, total=80.0, idle=40.0)
        self.service = ServiceRuntime(shared, replace(service_of("a"), timeouts=timeouts), Random(1))
        self.hedge = clocks.hedge.of(45.0)

    def watch(self, attempt: Waits, *, stream: bool) -> Watch:
        attempt.watch = Watch(self.loop, attempt, self.service, self.hedge, 0, 0.0, stream=stream)
        return attempt.watch

    def waiting(self) -> dict[str, int]:
        queues: dict[str, DeadlineQueue[Waiter]] = {
            "first_packet": self.service.first_packet(0),
            "soft": self.clocks.soft.of(50.0),
            "hedge": self.hedge,
            "whole": self.service.whole_answer,
            "total": self.service.total,
        }
        return {name: len(queue) for name, queue in queues.items() if len(queue)}


@pytest.fixture
def stage() -> Iterator[Stage]:
    loop = asyncio.new_event_loop()
    yield Stage(loop)
    loop.close()


def test_a_stream_has_to_begin_in_time(stage: Stage) -> None:
    watch = stage.watch(Waits(), stream=True)
    assert stage.waiting() == {"first_packet": 1, "soft": 1, "hedge": 1, "total": 1}
    watch.stop_waiting()
    assert stage.waiting() == {"total": 1}
    watch.end()
    assert stage.waiting() == {}


def test_what_is_no_stream_has_to_be_whole_in_time_and_is_not_hedged(stage: Stage) -> None:
    watch = stage.watch(Waits(), stream=False)
    assert stage.waiting() == {"whole": 1, "total": 1}
    watch.commit()
    assert stage.waiting() == {"total": 1}
    watch.end()
    assert stage.waiting() == {}


@pytest.mark.parametrize("stream", [True, False])
def test_after_the_end_nothing_knows_the_attempt(stage: Stage, stream: bool) -> None:
    """What did would keep it, or be a cycle that is left to the garbage collector."""
    attempt = Waits()
    watch = stage.watch(attempt, stream=stream)
    watch.set_deadline(30.0, 0.0, attempt.told)
    watch.await_error_body(attempt.told)
    watch.listen(40.0, attempt.told, 0.0)
    gc.disable()
    try:
        watch.end()
        gone = weakref.ref(attempt)
        del watch, attempt
        assert gone() is None
    finally:
        gc.enable()


def test_a_commit_ends_the_share_of_a_deadline_and_the_whole_of_it_may_follow(stage: Stage) -> None:
    told: list[str] = []
    watch = stage.watch(Waits(), stream=True)
    watch.set_deadline(0.0, 0.0, lambda: told.append("share"))
    watch.commit()
    watch.set_deadline(0.0, 0.0, lambda: told.append("whole"))
    stage.loop.call_later(0.0, stage.loop.stop)
    stage.loop.run_forever()
    watch.end()
    assert told == ["whole"]
