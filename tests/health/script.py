"""Scripts of health: time on the left, what happens in the middle, every event it brings on the right.

Silence has to be expected too. Whatever is due by time has to be played with `time_passes` first, so no
script can overlook that an ejection ended.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Self

from sidecar.failure import Verdict
from sidecar.frozen import replace
from sidecar.health.events import HealthEvent
from sidecar.health.ledger import EndpointHealth, EndpointStatus, Ledger
from sidecar.policy.snapshot import ActiveHealth, PassiveHealth, Service, Url
from sidecar.terms import EndpointKey, TcpAddress

SERVICE = "llm"
URL = Url(scheme="http", host="llm.test", port=80, path="", authority="llm.test")

# The rules without what makes numbers hard to read: no jitter, no ramp, no probation.
PLAIN = PassiveHealth(ejection_jitter=0.0, probation_requests=0, ramp=0.0)


def key(name: str, service: str = SERVICE) -> EndpointKey:
    return EndpointKey(service, f"{name}:80")


def service_of(
    names: str,
    passive: PassiveHealth = PLAIN,
    active: ActiveHealth | None = None,
    *,
    name: str = SERVICE,
    url: Url = URL,
) -> Service:
    """A service whose endpoints are the letters of `names`; none: they are resolved."""
    addresses = tuple(TcpAddress(letter, 80) for letter in names)
    return Service(name, url, endpoints=addresses, passive_health=passive, active_health=active)


class Script:
    """Plays events into a ledger of one service and compares what it tells."""

    def __init__(self, service: Service, *, start: float = 0.0) -> None:
        self.ledger = Ledger(Random(7))
        self.service = service
        self.now = start
        self.running: dict[str, tuple[EndpointHealth, int, float]] = {}
        self.ledger.configure({service.name: service}, start)

    def at(self, now: float, act: Act, *expected: HealthEvent) -> Self:
        assert now >= self.now
        self.now = now
        due = self.ledger.next_deadline()
        assert act is time_passes or due is None or due > now, f"{due} has passed at {now}: play it first"
        assert act(self) == list(expected)
        return self

    def endpoint(self, name: str) -> EndpointHealth:
        wanted = key(name, self.service.name)
        return next(e for e in self.ledger.endpoints(self.service.name) if e.key == wanted)

    def status(self, name: str) -> EndpointStatus:
        wanted = key(name, self.service.name)
        return next(s for s in self.ledger.statuses(self.now) if s.endpoint == wanted.address)

    def states(self) -> dict[str, str]:
        return {s.endpoint.removesuffix(":80"): s.state for s in self.ledger.statuses(self.now)}

    def available(self, name: str) -> bool:
        return self.endpoint(name).available(self.now)


Act = Callable[[Script], list[HealthEvent]]


def attempt(name: str, verdict: Verdict, times: int = 1, retry_after: float | None = None) -> Act:
    """Attempts that start and end at once; only the last may bring events."""

    def act(script: Script) -> list[HealthEvent]:
        events: list[HealthEvent] = []
        endpoint = script.endpoint(name)
        for _ in range(times):
            assert events == []
            era = script.ledger.started(endpoint, script.now)
            events = script.ledger.finished(endpoint, verdict, script.now, retry_after, era)
        return events

    return act


def fails(name: str, times: int = 1, retry_after: float | None = None) -> Act:
    return attempt(name, Verdict.FAILURE, times, retry_after)


def succeeds(name: str, times: int = 1) -> Act:
    return attempt(name, Verdict.SUCCESS, times)


def is_refused(name: str, retry_after: float) -> Act:
    """A 429 with Retry-After: no failure, but a wish."""
    return attempt(name, Verdict.IGNORABLE, 1, retry_after)


def starts(name: str, tag: str) -> Act:
    def act(script: Script) -> list[HealthEvent]:
        endpoint = script.endpoint(name)
        script.running[tag] = endpoint, script.ledger.started(endpoint, script.now), script.now
        return []

    return act


def ends(tag: str, verdict: Verdict, retry_after: float | None = None) -> Act:
    def act(script: Script) -> list[HealthEvent]:
        endpoint, era, began = script.running.pop(tag)
        return script.ledger.finished(endpoint, verdict, script.now, retry_after, era, began=began)

    return act


def begins_to_answer(tag: str) -> Act:
    """Its first packet is there, in time."""

    def act(script: Script) -> list[HealthEvent]:
        endpoint, _, began = script.running[tag]
        return list(script.ledger.on_time(endpoint, began, script.now))

    return act


def is_late(tag: str) -> Act:
    """Its first packet is, and it goes on."""

    def act(script: Script) -> list[HealthEvent]:
        endpoint, _, began = script.running[tag]
        script.ledger.late(endpoint, began, script.now)
        return []

    return act


def probe(name: str, reason: str, *, passed: bool) -> Act:
    return lambda script: script.ledger.probed(key(name), passed, reason, script.now)


def is_ejected(name: str, duration: float | None) -> Act:
    return lambda script: script.ledger.eject(key(name), duration, script.now)


def is_restored(name: str) -> Act:
    return lambda script: script.ledger.restore(key(name), script.now)


def list_is(names: str) -> Act:
    return lambda script: script.ledger.set_endpoints(
        script.service.name, [key(name).address for name in names], script.now
    )


def policy_is(service: Service | None) -> Act:
    """The new policy has this service only; None: it has none."""

    def act(script: Script) -> list[HealthEvent]:
        services = {} if service is None else {service.name: service}
        return script.ledger.configure(services, script.now)

    return act


def passive_is(**changes: object) -> Act:
    """The same service with other passive_health fields."""

    def act(script: Script) -> list[HealthEvent]:
        passive = replace(script.service.passive_health, **changes)
        script.service = replace(script.service, passive_health=passive)
        return script.ledger.configure({script.service.name: script.service}, script.now)

    return act


def time_passes(script: Script) -> list[HealthEvent]:
    return script.ledger.advance(script.now)
