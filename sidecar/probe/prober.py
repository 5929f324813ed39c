"""Active checks: every endpoint of a service with `active_health` is probed once an interval.

In:      the policy, and word that lists of endpoints changed. With `only_when_unhealthy` an endpoint is left out
         while the ledger has nothing against it.
Out:     results to the ledger, the ledger's events to `emit`.
Timing:  a schedule begins at a random point of its interval and every interval is up to a tenth longer or
         shorter, so that neither the endpoints of one sidecar nor a hundred sidecars that started together
         probe at one moment. A policy change leaves a schedule in its step unless its interval changed.
         An interval counts from the start of a probe; the next never begins before the last has ended.
Errors:  a probe that got no status or none in time is a failed one; anything else is a bug, goes to the
         loop's exception handler and ends that schedule.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random

from sidecar.health.events import HealthEvent
from sidecar.health.ledger import Ledger
from sidecar.policy.snapshot import ActiveHealth, Service, Snapshot
from sidecar.probe.http import ProbeFailed
from sidecar.probe.schedules import Schedules
from sidecar.terms import Address, EndpointKey, parse_address

JITTER = 0.1

# Sends one probe and returns the status of its answer, or raises ProbeFailed; see sidecar.probe.http.
Send = Callable[[Service, Address], Awaitable[int]]


def first_pause(interval: float, rng: Random) -> float:
    """Before the first probe of a schedule, seconds."""
    return interval * rng.random()


def pause(interval: float, rng: Random) -> float:
    """From the start of one probe to that of the next."""
    return interval * rng.uniform(1.0 - JITTER, 1.0 + JITTER)


class Prober:
    """A task an endpoint, from its listing to its removal."""

    def __init__(
        self,
        ledger: Ledger,
        send: Send,
        emit: Callable[[Sequence[HealthEvent]], None],
        loop: asyncio.AbstractEventLoop,
        rng: Random,
    ) -> None:
        self._ledger = ledger
        self._send = send
        self._emit = emit
        self._loop = loop
        self._rng = rng
        self._services: dict[str, Service] = {}  # those with active_health
        self._schedules = Schedules("probe", self._schedule, loop)

    @property
    def probed(self) -> frozenset[EndpointKey]:
        """The endpoints that have a schedule."""
        return self._schedules.keys

    def apply(self, snapshot: Snapshot) -> None:
        """Goes on under a new policy; call it after the ledger has been configured."""
        was = self._services
        self._services = {n: s for n, s in snapshot.services.items() if s.active_health is not None}
        for key in self._schedules.keys:
            old, new = was[key.service].active_health, self._active_health(key.service)
            if old is not None and new is not None and old.interval != new.interval:
                self._schedules.end(key)
        self.endpoints_changed()

    def endpoints_changed(self) -> None:
        """Begins a schedule for every endpoint that has none and ends those of endpoints that left."""
        self._schedules.keep({e.key for name in self._services for e in self._ledger.endpoints(name)})

    async def stop(self) -> None:
        """Ends every schedule and the probes in flight."""
        self._services = {}
        await self._schedules.stop()

    def _active_health(self, service: str) -> ActiveHealth | None:
        return self._services[service].active_health if service in self._services else None

    async def _schedule(self, key: EndpointKey) -> None:
        address = parse_address(key.address)
        check = self._active_health(key.service)
        delay = first_pause(check.interval, self._rng) if check is not None else 0.0
        while True:
            await asyncio.sleep(delay)
            check = self._active_health(key.service)
            if check is None:
                return
            began = self._loop.time()
            if not check.only_when_unhealthy or self._ledger.needs_probe(key, began):
                passed, reason = await self._probe(self._services[key.service], check, address)
                events = self._ledger.probed(key, passed, reason, self._loop.time())
                if events:
                    self._emit(events)
            delay = max(0.0, began + pause(check.interval, self._rng) - self._loop.time())

    async def _probe(self, service: Service, check: ActiveHealth, address: Address) -> tuple[bool, str]:
        try:
            async with asyncio.timeout(check.timeout):
                status = await self._send(service, address)
        except TimeoutError:
            return False, "timeout"
        except ProbeFailed as failed:
            return False, str(failed)
        return any(low <= status <= high for low, high in check.expected_statuses), f"status {status}"
