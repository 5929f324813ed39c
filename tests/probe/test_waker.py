"""Rules of the timer: mostly on a loop whose time is invented, once on the real one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import uvloop

from sidecar.health.events import HealthEvent, Returned
from sidecar.health.ledger import Ledger
from sidecar.policy.snapshot import PassiveHealth, Service, Url
from sidecar.probe.waker import TICK, Waker
from sidecar.terms import EndpointKey, TcpAddress

A, B = EndpointKey("llm", "a:80"), EndpointKey("llm", "b:80")
PLAIN = PassiveHealth(probation_requests=0, ramp=0.0)
SERVICE = Service(
    "llm",
    Url("http", "llm.test", 80, "", "llm.test"),
    endpoints=(TcpAddress("a", 80), TcpAddress("b", 80)),
    passive_health=PLAIN,
)


@dataclass(eq=False)
class InventedTimer:
    loop: InventedTime
    when: float
    fire: Callable[[], object]

    def cancel(self) -> None:
        self.loop.timers.remove(self)


class InventedTime:
    """A loop with nothing but timers, which fire when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[InventedTimer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[float], object], deadline: float, /) -> InventedTimer:
        timer = InventedTimer(self, when, lambda: callback(deadline))
        self.timers.append(timer)
        return timer

    def fire(self, *, early: float = 0.0) -> None:
        """Fires the one timer there is, this much before its time."""
        (timer,) = self.timers
        self.timers.clear()
        self.now = timer.when - early
        timer.fire()


class Rig:
    def __init__(self) -> None:
        self.loop = InventedTime()
        self.ledger = Ledger(Random(1))
        self.ledger.configure({"llm": SERVICE}, 0.0)
        self.told: list[HealthEvent] = []
        self.waker = Waker(self.ledger, self.told.extend, self.loop)

    def eject(self, key: EndpointKey, seconds: float) -> None:
        self.ledger.eject(key, seconds, self.loop.now)
        self.waker.rearm()


def test_without_a_deadline_no_timer_is_armed() -> None:
    """A healthy sidecar sleeps."""
    rig = Rig()
    rig.waker.rearm()
    assert rig.loop.timers == []


def test_an_ejection_ends_on_its_own() -> None:
    """No request has to come by to notice."""
    rig = Rig()
    rig.eject(A, 5.0)
    rig.loop.fire()
    assert rig.told == [Returned(A, "ejection_ended")]
    assert rig.loop.timers == []


def test_a_timer_that_fires_early_still_finds_its_deadline_due() -> None:
    """uvloop may be 0.9 ms early; asking again at once would spin."""
    rig = Rig()
    rig.eject(A, 5.0)
    rig.loop.fire(early=TICK + 0.0009)
    assert rig.told == [Returned(A, "ejection_ended")]
    assert rig.loop.timers == []


def test_the_timer_moves_only_to_an_earlier_deadline() -> None:
    """After every finished attempt it is asked; most of the time nothing has changed."""
    rig = Rig()
    rig.eject(A, 5.0)
    (timer,) = rig.loop.timers
    rig.eject(B, 9.0)
    assert rig.loop.timers == [timer]
    rig.eject(B, 2.0)
    (timer,) = rig.loop.timers
    assert timer.when == 2.0 + TICK


def test_it_wakes_for_one_deadline_after_the_other() -> None:
    """One timer serves them all."""
    rig = Rig()
    rig.eject(A, 5.0)
    rig.eject(B, 9.0)
    rig.loop.fire()
    rig.loop.fire()
    assert [event for event in rig.told if isinstance(event, Returned)] == [
        Returned(A, "ejection_ended"),
        Returned(B, "ejection_ended"),
    ]


def test_a_deadline_that_went_away_costs_one_silent_wake_up() -> None:
    """Cheaper than to look for it at every restore."""
    rig = Rig()
    rig.eject(A, 5.0)
    rig.ledger.restore(A, 1.0)
    rig.waker.rearm()
    rig.loop.fire()
    assert rig.told == []
    assert rig.loop.timers == []


def test_a_stopped_waker_fires_no_more() -> None:
    """Nothing may run after the drain."""
    rig = Rig()
    rig.eject(A, 5.0)
    rig.waker.stop()
    assert rig.loop.timers == []


def test_on_the_real_loop_an_ejection_ends_and_never_early() -> None:
    """The clock of the loop and that of the ledger are one."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        returned: asyncio.Future[tuple[float, Sequence[HealthEvent]]] = loop.create_future()
        ledger = Ledger(Random(1))
        ledger.configure({"llm": SERVICE}, loop.time())
        waker = Waker(ledger, lambda events: returned.set_result((loop.time(), events)), loop)
        began = loop.time()
        ledger.eject(A, 0.02, began)
        waker.rearm()
        at, events = await asyncio.wait_for(returned, 20.0)
        assert events == [Returned(A, "ejection_ended")]
        assert at >= began + 0.02

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story())
