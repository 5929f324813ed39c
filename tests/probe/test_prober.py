"""Rules of the schedules, against real peers with short intervals."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

from sidecar.frozen import replace
from sidecar.health.events import HealthEvent, ProbeChanged
from sidecar.health.ledger import Ledger
from sidecar.policy.snapshot import ActiveHealth, Service
from sidecar.probe.http import HttpProbe
from sidecar.probe.prober import Prober, Send, first_pause, pause
from sidecar.terms import Address, EndpointKey
from tests.probe.peer import SERVICE, Peer, listening, run, service_at, snapshot

OFTEN = ActiveHealth(interval=0.02, timeout=5.0, unhealthy_threshold=2, healthy_threshold=2)
HOURLY = replace(OFTEN, interval=3600.0)
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\n\r\n"


class CountingRandom(Random):
    """Tells how many schedules have begun: each draws its first delay once, by `random`."""

    drawn = 0

    def random(self) -> float:
        self.drawn += 1
        return super().random()

    def uniform(self, a: float, b: float) -> float:
        return a + (b - a) * super().random()


class Rig:
    """A prober over a real ledger; keeps the events and lets a story wait for them."""

    def __init__(self, service: Service, send: Send | None = None) -> None:
        self.events: asyncio.Queue[HealthEvent] = asyncio.Queue()
        self.ledger = Ledger(Random(5))
        self.rng = CountingRandom(5)
        loop = asyncio.get_running_loop()
        send = send or HttpProbe(lambda service: None, lambda service: None)
        self.prober = Prober(self.ledger, send, self.emit, loop, self.rng)
        self.apply(service)

    def apply(self, service: Service) -> None:
        self.ledger.configure({service.name: service}, asyncio.get_running_loop().time())
        self.prober.apply(snapshot(service))

    def emit(self, events: Sequence[HealthEvent]) -> None:
        for event in events:
            self.events.put_nowait(event)

    async def probe_changes(self) -> ProbeChanged:
        while True:
            event = await self.events.get()
            if isinstance(event, ProbeChanged):
                return event


def key_of(peer: Peer) -> EndpointKey:
    return EndpointKey(SERVICE, str(peer.address))


def test_sidecars_that_started_together_do_not_probe_together() -> None:
    """A hundred pods of one deployment: spread over the interval at first, and no two in step for long."""
    rng = Random(1)
    firsts = sorted(first_pause(5.0, rng) for _ in range(100))
    assert all(abs(first - 0.05 * number) < 1.0 for number, first in enumerate(firsts))
    pauses = [pause(5.0, rng) for _ in range(1000)]
    assert 4.5 <= min(pauses) < 4.6
    assert 5.4 < max(pauses) <= 5.5
    assert abs(sum(pauses) / len(pauses) - 5.0) < 0.05


def test_probes_find_an_endpoint_that_fails_and_one_that_has_recovered() -> None:
    """Without a single request of the app."""

    async def story() -> None:
        async with listening(REFUSAL) as peer:
            rig = Rig(service_at(peer.address, check=OFTEN))
            assert await rig.probe_changes() == ProbeChanged(key_of(peer), False, "status 503")
            peer.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
            assert await rig.probe_changes() == ProbeChanged(key_of(peer), True, "status 204")
            await rig.prober.stop()

    run(story)


def test_silence_for_the_timeout_is_a_failed_probe() -> None:
    """A stopped process accepts connections for a long time."""

    async def story() -> None:
        async with listening(None) as peer:
            rig = Rig(service_at(peer.address, check=replace(OFTEN, timeout=0.02)))
            assert await rig.probe_changes() == ProbeChanged(key_of(peer), False, "timeout")
            await peer.hung_up.wait()
            await rig.prober.stop()

    run(story)


def test_the_policy_says_which_statuses_pass() -> None:
    """Some health pages want a credential and answer 401 without: alive all the same."""

    async def story() -> None:
        async with listening() as peer:
            odd = replace(OFTEN, expected_statuses=((204, 204), (401, 403)))
            rig = Rig(service_at(peer.address, check=odd))
            assert await rig.probe_changes() == ProbeChanged(key_of(peer), False, "status 200")
            peer.answer = b"HTTP/1.1 402 Pay\r\n\r\n"
            assert await rig.probe_changes() == ProbeChanged(key_of(peer), True, "status 402")
            await rig.prober.stop()

    run(story)


def test_every_endpoint_has_a_schedule_of_its_own() -> None:
    """A silent one must not delay the verdict on another."""

    async def story() -> None:
        async with listening(None) as silent, listening(REFUSAL) as failing:
            rig = Rig(service_at(silent.address, failing.address, check=OFTEN))
            assert rig.prober.probed == {key_of(silent), key_of(failing)}
            assert await rig.probe_changes() == ProbeChanged(key_of(failing), False, "status 503")
            await rig.prober.stop()

    run(story)


def test_schedules_follow_the_list_of_endpoints() -> None:
    """A resolver may change it at any time."""

    async def story() -> None:
        async with listening() as old, listening() as new:
            rig = Rig(service_at(check=OFTEN))
            assert rig.prober.probed == frozenset()
            rig.ledger.set_endpoints(SERVICE, [str(old.address)], 0.0)
            rig.prober.endpoints_changed()
            await old.asked.wait()
            rig.ledger.set_endpoints(SERVICE, [str(new.address)], 1.0)
            rig.prober.endpoints_changed()
            assert rig.prober.probed == {key_of(new)}
            await new.asked.wait()
            await rig.prober.stop()

    run(story)


def test_a_service_without_active_checks_is_not_probed() -> None:
    """A vendor's API has no health page."""

    async def story() -> None:
        async with listening() as peer:
            rig = Rig(service_at(peer.address, check=OFTEN))
            await peer.asked.wait()
            rig.apply(service_at(peer.address, check=None))
            assert rig.prober.probed == frozenset()
            await rig.prober.stop()

    run(story)


def test_a_policy_change_leaves_a_schedule_in_its_step() -> None:
    """Else every policy change would let all sidecars probe anew."""

    async def story() -> None:
        async with listening() as peer:
            rig = Rig(service_at(peer.address, check=OFTEN))
            await peer.asked.wait()
            rig.apply(service_at(peer.address, check=replace(OFTEN, path="/ready")))
            while not any(head.startswith(b"GET /ready ") for head in peer.heads):
                peer.asked.clear()
                await peer.asked.wait()
            await rig.prober.stop()
            assert rig.rng.drawn == 1

    run(story)


def test_another_interval_holds_at_once() -> None:
    """Not only after the long one that it replaces."""

    async def story() -> None:
        async with listening() as peer:
            rig = Rig(service_at(peer.address, check=HOURLY))
            rig.apply(service_at(peer.address, check=OFTEN))
            await peer.asked.wait()
            await rig.prober.stop()

    run(story)


def test_the_end_hangs_up_on_probes_in_flight() -> None:
    """A shutdown waits for nobody's health page."""

    async def story() -> None:
        async with listening(None) as peer:
            rig = Rig(service_at(peer.address, check=replace(OFTEN, timeout=3600.0)))
            await peer.asked.wait()
            await rig.prober.stop()
            await peer.hung_up.wait()
            assert rig.prober.probed == frozenset()

    run(story)


def test_a_defect_is_told_to_the_loop() -> None:
    """A schedule that dies in silence would leave its endpoint unwatched."""

    async def story() -> None:
        told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.put_nowait(context))

        async def broken(service: Service, address: Address) -> int:
            raise ZeroDivisionError(str(address))

        async with listening() as peer:
            rig = Rig(service_at(peer.address, check=OFTEN), broken)
            context = await told.get()
            assert isinstance(context["exception"], ZeroDivisionError)
            assert str(peer.address) in context["message"]
            await rig.prober.stop()

    run(story)
