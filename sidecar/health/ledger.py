"""The ledger: every endpoint's health in one place; joins passive and active health and tells each change.

In:      attempts as they start and finish, probe results, lists of endpoints, policies, an operator's
         wishes; each with `now`.
Out:     health events, in the order they were decided; statuses; the moment to be woken (`next_deadline`).
Units:   seconds, monotonic.
Errors:  KeyError from eject and restore for an endpoint that is not listed; AssertionError when an attempt
         is finished that was never started.
Rules:   - An endpoint is used only if passive and active health both agree; neither shortens the other.
         - An adaptive limit (sidecar.health.limit) takes late first packets from passive health. It ejects nobody.
         - A policy change keeps everything else of an endpoint that stays; an ejection keeps its end.
         - What takes an endpoint out of rotation and what brings it back: see sidecar.health.rotation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

from sidecar.failure import Verdict
from sidecar.health import rotation
from sidecar.health.endpoint import AVAILABLE, EndpointHealth, State, Traffic
from sidecar.health.events import (
    EndpointAdded,
    EndpointRemoved,
    HealthEvent,
    ProbeChanged,
    ScopeCooled,
    ScopeReturned,
)
from sidecar.health.group import Group
from sidecar.health.scopes import Blame, Scope, Scopes
from sidecar.health.status import EndpointStatus, status_of
from sidecar.policy.snapshot import Service
from sidecar.terms import EndpointKey

__all__ = ["EndpointHealth", "EndpointStatus", "Ledger"]

NOTHING: Final[Sequence[HealthEvent]] = ()
NO_SCOPES: Final = Scopes()  # of a service that is gone
REMOVED: Final = State.REMOVED
SUCCESS: Final = Verdict.SUCCESS
IGNORABLE: Final = Verdict.IGNORABLE


class Ledger:
    """Keeps every endpoint's health. Used from one thread; no call blocks."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._groups: dict[str, Group] = {}
        self._by_key: dict[EndpointKey, EndpointHealth] = {}
        self._traffic = Traffic()
        self._deadline: float | None = None
        self._deadline_is_stale = False

    # What there is.

    def configure(self, services: Mapping[str, Service], now: float) -> list[HealthEvent]:
        """Goes on under a new policy. A service without written endpoints waits for set_endpoints."""
        events: list[HealthEvent] = []
        for name in [name for name in self._groups if name not in services]:
            group = self._groups.pop(name)
            events += group.drop_cooling()
            events += [self._remove(endpoint, now) for endpoint in group.listed]
        for name, service in services.items():
            present = self._groups.get(name)
            if present is None:
                self._groups[name] = Group(service)
            else:
                events += self._adopt(present, service, now)
            if service.endpoints:
                events += self.set_endpoints(name, [str(address) for address in service.endpoints], now)
        self._deadline_is_stale = True
        return events

    def set_endpoints(self, service: str, addresses: Sequence[str], now: float) -> list[HealthEvent]:
        """The service's endpoints are these now; whoever stays keeps its state. An answer that was
        overtaken by a policy without the service says nothing."""
        group = self._groups.get(service)
        if group is None:
            return []
        keys = [EndpointKey(service, address) for address in dict.fromkeys(addresses)]
        kept = set(keys)
        events: list[HealthEvent] = []
        events += [self._remove(old, now) for old in group.listed if old.key not in kept]
        for key in keys:
            if key not in self._by_key:
                self._by_key[key] = group.new_endpoint(key, self._traffic, self._rng, now)
                events.append(EndpointAdded(key))
        group.listed = tuple(self._by_key[key] for key in keys)
        return self._told(group, events, now)

    def endpoints(self, service: str) -> tuple[EndpointHealth, ...]:
        """Those of a service, in the order they were given; none for an unknown service."""
        group = self._groups.get(service)
        return group.listed if group is not None else ()

    # What happens. Exactly one `finished` for every `started`; before it at most one of `on_time` and `late`.

    def started(self, endpoint: EndpointHealth, now: float) -> int:
        """An attempt begins; returns its era, for `finished`."""
        if endpoint.limit is not None:
            endpoint.limit.began(now)
        endpoint.in_flight += 1
        if endpoint.state is not AVAILABLE:
            endpoint.take(now)
        self._traffic.starts += 1
        return endpoint.era

    def on_time(self, endpoint: EndpointHealth, began: float, now: float) -> Sequence[HealthEvent]:
        """The first packet of a stream that began then has come in time."""
        if endpoint.pace is not None:
            endpoint.pace.heard(now - began, now)
        if endpoint.limit is not None:
            endpoint.limit.on_time(began, endpoint.in_flight)
        if endpoint.on_probation and endpoint.state is not State.REMOVED and endpoint.hear(began):
            return self._told(self._group_of(endpoint), rotation.pass_probation(endpoint, now), now)
        return NOTHING

    def late(self, endpoint: EndpointHealth, began: float, now: float) -> None:
        """It is late, whether the attempt is given up for it or not."""
        if endpoint.pace is not None:
            endpoint.pace.heard(now - began, now)
        if endpoint.limit is not None:
            endpoint.limit.late(began, endpoint.in_flight, now)
        if endpoint.on_probation:
            endpoint.hear(began)

    def finished(
        self,
        endpoint: EndpointHealth,
        verdict: Verdict,
        now: float,
        retry_after: float | None = None,
        era: int | None = None,
        *,
        began: float | None = None,
        cut: bool = False,
    ) -> list[HealthEvent]:
        """An attempt ended; `cut`: given up as late. Without its `era` it is taken for one of the present."""
        assert endpoint.in_flight > 0, f"{endpoint.key} has no attempt in flight"
        endpoint.in_flight -= 1
        if endpoint.limit is not None:
            if cut:
                endpoint.limit.gave_up(now)
            elif began is not None:
                endpoint.limit.ended(began, endpoint.in_flight + 1, now, well=verdict is SUCCESS)
        events: list[HealthEvent] = []
        if endpoint.state is REMOVED:
            return events
        if (era is None or era == endpoint.era) and endpoint.ejection is None:
            if endpoint.on_probation:
                group = self._group_of(endpoint)
                events += rotation.judge_probation(endpoint, group, verdict, began, self._rng, now)
            elif verdict is not IGNORABLE:
                failed = verdict is not SUCCESS
                if (
                    failed and not cut and endpoint.pace is not None
                ):  # one that was cut has been heard as late
                    endpoint.pace.failed(now)
                rule = endpoint.passive.observe(failed=failed, now=now)
                if rule is not None and self._group_of(endpoint).has_room(endpoint):
                    events.append(rotation.eject(endpoint, rule, self._rng, now))
        if retry_after is not None and retry_after > 0:
            # A wish beside a failure came with a 503; a 429 that names a time is none.
            events += rotation.cool(endpoint, retry_after, now, rate_limited=verdict is Verdict.IGNORABLE)
        return self._told(self._group_of(endpoint), events, now) if events else events

    def blame(self, service: str, blame: Blame, now: float) -> list[HealthEvent]:
        """A failure said that a key, a model or all of the service is to be left alone."""
        group = self._groups.get(service)
        return [] if group is None else self._told(group, group.blame(blame, now), now)

    def scopes(self, service: str) -> Scopes:
        """What of the service is cooling; the same object as long as the service is there."""
        group = self._groups.get(service)
        return NO_SCOPES if group is None else group.scopes

    def cooling(self) -> list[ScopeCooled]:
        """Every scope that cools now, as it would be told."""
        return [
            ScopeCooled(name, scope.kind, scope.name, *cooling)
            for name, group in self._groups.items()
            for scope, cooling in group.scopes.items()
            if cooling.enforced
        ]

    def restore_key(self, service: str, name: str, now: float) -> list[HealthEvent]:
        """A key has a new value."""
        group, scope = self._groups.get(service), Scope("credential", name)
        if group is None or not group.scopes.forget(scope):
            return []
        return self._told(group, [ScopeReturned(service, *scope)], now)

    def probed(self, key: EndpointKey, passed: bool, reason: str, now: float) -> list[HealthEvent]:
        """A probe ended. One that was overtaken by a policy or a list of endpoints says nothing."""
        endpoint = self._by_key.get(key)
        if endpoint is None:
            return []
        group = self._group_of(endpoint)
        policy = group.service.active_health
        if policy is None or not endpoint.probe.observe(policy, passed=passed, reason=reason):
            return []
        rotation.follow_probe(endpoint, now)
        return self._told(group, [ProbeChanged(key, passed, endpoint.probe.reason)], now)

    def needs_probe(self, key: EndpointKey, now: float) -> bool:
        """Whether anything speaks against it: it is not in full rotation, or an attempt failed lately."""
        endpoint = self._by_key.get(key)
        return endpoint is not None and (
            endpoint.state is not State.AVAILABLE
            or not endpoint.probe.healthy
            or endpoint.passive.has_failed(now)
        )

    def queue_length(self, key: EndpointKey, waiting: int, now: float) -> None:
        """The server says how many requests stand in its queue."""
        endpoint = self._by_key.get(key)
        if endpoint is not None and endpoint.limit is not None:
            endpoint.limit.waiting(waiting, now)

    def eject(self, key: EndpointKey, duration: float | None, now: float) -> list[HealthEvent]:
        """An operator takes an endpoint out; None: until it is restored. Replaces a present ejection."""
        endpoint = self._by_key[key]
        return self._told(self._group_of(endpoint), [rotation.eject_by_hand(endpoint, duration, now)], now)

    def restore(self, key: EndpointKey, now: float) -> list[HealthEvent]:
        """An operator puts an endpoint back, as if it were new; keys, models and the service must not keep it out."""
        endpoint = self._by_key[key]
        group = self._group_of(endpoint)
        events = group.drop_cooling() + rotation.restore(endpoint, now)
        endpoint.limit, endpoint.pace = group.limit_for(None, self._rng), group.pace_for(None)
        return self._told(group, events, now)

    # What time brings.

    def next_deadline(self) -> float | None:
        """When `advance` has something to do; None: not before something else happens."""
        if self._deadline_is_stale:
            times = [endpoint.deadline() for endpoint in self._by_key.values()]
            times += [group.scopes.deadline() for group in self._groups.values()]
            self._deadline = min((time for time in times if time is not None), default=None)
            self._deadline_is_stale = False
        return self._deadline

    def advance(self, now: float) -> list[HealthEvent]:
        """Does what is due; nothing if nothing is."""
        deadline = self.next_deadline()
        if deadline is None or deadline > now:
            return []
        events: list[HealthEvent] = []
        due = [(at, e) for e in self._by_key.values() if (at := e.deadline()) is not None and at <= now]
        for _, endpoint in sorted(due, key=lambda pair: pair[0]):
            group = self._group_of(endpoint)
            events += self._told(group, rotation.end_what_is_over(endpoint, group, now), now)
        for group in self._groups.values():
            if ended := group.end_cooling(now):
                events += self._told(group, ended, now)
        return events

    # What is asked.

    def statuses(self, now: float) -> list[EndpointStatus]:
        return [status_of(e, now) for group in self._groups.values() for e in group.listed]

    def service_available(self, service: str, now: float) -> bool:
        """Whether one of its endpoints is in rotation, a probation not counted; False if it is unknown."""
        group = self._groups.get(service)
        return group is not None and group.available(now)

    # Book-keeping.

    def _adopt(self, group: Group, service: Service, now: float) -> list[HealthEvent]:
        elsewhere = group.resolves_elsewhere(service)
        was, group.service = group.service, service
        events: list[HealthEvent] = group.adopt_scopes(was)
        for endpoint in group.listed:
            endpoint.limit = group.limit_for(endpoint.limit, self._rng)
            endpoint.pace = group.pace_for(endpoint.pace)
            events += rotation.adopt(endpoint, service, now)
        if elsewhere:  # the new credential must not go to the addresses of another host
            return events + self.set_endpoints(service.name, (), now)
        return self._told(group, events, now)

    def _group_of(self, endpoint: EndpointHealth) -> Group:
        return self._groups[endpoint.key.service]

    def _remove(self, endpoint: EndpointHealth, now: float) -> HealthEvent:
        del self._by_key[endpoint.key]
        endpoint.state, endpoint.since = State.REMOVED, now
        return EndpointRemoved(endpoint.key)

    def _told(self, group: Group, events: list[HealthEvent], now: float) -> list[HealthEvent]:
        """Closes a change: `events`, then what they mean for the service."""
        self._deadline_is_stale = True
        return events + group.change(now)
