"""The ledger: every endpoint's health in one place; joins passive and active health and tells each change.

In:      attempts as they start and finish, probe results, lists of endpoints, policies, an operator's
         wishes; each with `now`.
Out:     health events, in the order they were decided; statuses; the moment to be woken (`next_deadline`).
Units:   seconds, monotonic.
Errors:  KeyError from eject and restore for an endpoint that is not listed; AssertionError when an attempt
         is finished that was never started.
Rules:   - Return: by timer, into a probation of `probation_requests` attempts (in flight and passed
           together); when that many succeeded (a stream does with its first packet) it returns and ramps up;
           one failure ejects it again, with k one higher; an ignorable one gives its place back, and so does a
           late one. `probation_requests: 0` returns it at once, and so does the share limit where it would not
           let the endpoint leave again.
         - Retry-After cools an endpoint until then, at most `max_ejection_time`, whatever the verdict says
           beside it; k and the share limit have no part in it. A wish that would move the end by less than
           a second changes nothing, or every refusal of a burst would be an event.
         - An endpoint is used only if passive and active health both agree; neither shortens the other.
           After failed probes it ramps up like after an ejection.
         - `enforce: false` tells what it would do, once for the length of each ejection it would make, and
           keeps k; when `enforce` changes, what was decided under the other setting is dropped.
         - An operator's ejection is enforced and unlimited, and ends through probation like any other;
           a restore puts the endpoint back as if it were new, failed probes forgotten too.
         - An adaptive limit (sidecar.health.limit) takes late first packets from passive health. It ejects nobody.
         - A policy change keeps everything else of an endpoint that stays; an ejection keeps its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Final

from sidecar.failure import Verdict
from sidecar.health.endpoint import AVAILABLE, Absence, EndpointHealth, State, Traffic
from sidecar.health.events import (
    Ejected,
    EndpointAdded,
    EndpointRemoved,
    HealthEvent,
    Probation,
    ProbeChanged,
    Returned,
    ScopeCooled,
    ScopeReturned,
)
from sidecar.health.group import Group
from sidecar.health.scopes import Blame, Scope, Scopes
from sidecar.health.status import EndpointStatus, status_of
from sidecar.policy.snapshot import Service
from sidecar.terms import EndpointKey

__all__ = ["EndpointHealth", "EndpointStatus", "Ledger"]

LEAST_EXTENSION: Final = 1.0
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
            return self._told(self._group_of(endpoint), self._pass_probation(endpoint, now), now)
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
                events += self._judge_probation(endpoint, verdict, began, now)
            elif verdict is not IGNORABLE:
                failed = verdict is not SUCCESS
                if (
                    failed and not cut and endpoint.pace is not None
                ):  # one that was cut has been heard as late
                    endpoint.pace.failed(now)
                rule = endpoint.passive.observe(failed=failed, now=now)
                if rule is not None and self._group_of(endpoint).has_room(endpoint):
                    events.append(self._eject(endpoint, rule, now))
        if retry_after is not None and retry_after > 0:
            # A wish beside a failure came with a 503; a 429 that names a time is none.
            events += self._cool(endpoint, retry_after, now, rate_limited=verdict is Verdict.IGNORABLE)
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
        self._follow_probe(endpoint, now)
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
        until = None if duration is None else now + duration
        k = endpoint.passive.multiplier(now)
        endpoint.eject(Absence("manual", until, enforced=True), now)
        return self._told(
            self._group_of(endpoint), [_ejected(endpoint, "manual", k, until, enforced=True, now=now)], now
        )

    def restore(self, key: EndpointKey, now: float) -> list[HealthEvent]:
        """An operator puts an endpoint back, as if it were new; keys, models and the service must not keep it out."""
        endpoint = self._by_key[key]
        events = self._group_of(endpoint).drop_cooling()
        if endpoint.probe.reset():
            events.append(ProbeChanged(key, True, "manual"))
        if endpoint.state in (State.EJECTED, State.COOLING) or endpoint.on_probation:
            events.append(Returned(key, "manual"))
        endpoint.cooled = None
        endpoint.bring_back("manual", now, ramp=False)
        endpoint.passive.forget(now)
        group = self._group_of(endpoint)
        endpoint.limit, endpoint.pace = group.limit_for(None, self._rng), group.pace_for(None)
        return self._told(self._group_of(endpoint), events, now)

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
            ended = self._end_what_is_over(endpoint, now)
            events += self._told(self._group_of(endpoint), ended, now)
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

    # Decisions.

    def _judge_probation(
        self, endpoint: EndpointHealth, verdict: Verdict, began: float | None, now: float
    ) -> list[HealthEvent]:
        is_news = endpoint.hear_end(began)
        if verdict is Verdict.FAILURE:
            endpoint.passive.observe(failed=True, now=now)
            if not self._group_of(endpoint).has_room(endpoint):
                return [self._return(endpoint, "ejection_ended", now)]
            return [self._eject(endpoint, "probation_failed", now)]
        return self._pass_probation(endpoint, now) if is_news and verdict is Verdict.SUCCESS else []

    def _pass_probation(self, endpoint: EndpointHealth, now: float) -> list[HealthEvent]:
        endpoint.passive.observe(failed=False, now=now)
        endpoint.passed += 1
        if endpoint.passed >= endpoint.passive.policy.probation_requests:
            return [self._return(endpoint, "probation_passed", now)]
        return []

    def _eject(self, endpoint: EndpointHealth, reason: str, now: float) -> HealthEvent:
        enforced = endpoint.passive.policy.enforce
        k, until = endpoint.passive.eject(self._rng, now)
        endpoint.eject(Absence(reason, until, enforced), now)
        return _ejected(endpoint, reason, k, until, enforced=enforced, now=now)

    def _cool(
        self, endpoint: EndpointHealth, retry_after: float, now: float, *, rate_limited: bool
    ) -> Iterable[HealthEvent]:
        policy = endpoint.passive.policy
        until = now + min(retry_after, policy.max_ejection_time)
        present = endpoint.cooled
        if present is not None and present.until is not None and until < present.until + LEAST_EXTENSION:
            return []
        endpoint.cooled = Absence("retry_after", until, policy.enforce, rate_limited)
        endpoint.settle(now)
        k = endpoint.passive.multiplier(now)
        return [_ejected(endpoint, "retry_after", k, until, enforced=policy.enforce, now=now)]

    def _return(self, endpoint: EndpointHealth, reason: str, now: float) -> HealthEvent:
        endpoint.bring_back(reason, now, ramp=endpoint.passive.policy.enforce)
        return Returned(endpoint.key, reason)

    def _follow_probe(self, endpoint: EndpointHealth, now: float) -> None:
        ejected = endpoint.ejection is not None and endpoint.ejection.enforced
        if endpoint.probe.healthy and not ejected and not endpoint.on_probation:
            endpoint.bring_back("probe_passed", now, ramp=endpoint.passive.policy.enforce)
        elif not endpoint.probe.healthy:
            endpoint.passive.hold(now)
        endpoint.settle(now)

    def _end_what_is_over(self, endpoint: EndpointHealth, now: float) -> list[HealthEvent]:
        events: list[HealthEvent] = []
        cooling, ejection, policy = endpoint.cooled, endpoint.ejection, endpoint.passive.policy
        if cooling is not None and cooling.is_over(now):
            endpoint.cooled = None
            endpoint.settle(now)
            events += [Returned(endpoint.key, "retry_after_ended")] if cooling.enforced else []
        if endpoint.ramp_from is not None and endpoint.ramp_from + policy.ramp <= now:
            endpoint.end_ramp(now)
        if ejection is not None and ejection.is_over(now):
            events += self._end_ejection(endpoint, ejection, now)
        return events

    def _end_ejection(self, endpoint: EndpointHealth, ejection: Absence, now: float) -> Iterable[HealthEvent]:
        if not ejection.enforced:
            endpoint.bring_back("", now, ramp=False)
            return []
        policy = endpoint.passive.policy
        has_room = self._group_of(endpoint).has_room(endpoint)
        if policy.probation_requests == 0 or not policy.enforce or not has_room:
            return [self._return(endpoint, "ejection_ended", now)]  # a failed probation could not eject it
        endpoint.put_on_probation(now)
        return [Probation(endpoint.key, policy.probation_requests)]

    # Policy changes.

    def _adopt(self, group: Group, service: Service, now: float) -> list[HealthEvent]:
        elsewhere = group.resolves_elsewhere(service)
        was, group.service = group.service, service
        events: list[HealthEvent] = group.adopt_scopes(was)
        for endpoint in group.listed:
            endpoint.passive.adopt(service.passive_health, now)
            endpoint.limit = group.limit_for(endpoint.limit, self._rng)
            endpoint.pace = group.pace_for(endpoint.pace)
            if was.passive_health.enforce != service.passive_health.enforce:
                events += self._drop_decisions(endpoint, now)
            elif endpoint.on_probation and endpoint.passed >= service.passive_health.probation_requests:
                events.append(self._return(endpoint, "probation_passed", now))
            if service.active_health is None and endpoint.probe.reset():
                self._follow_probe(endpoint, now)
                events.append(ProbeChanged(endpoint.key, True, "active_health_off"))
        if elsewhere:  # the new credential must not go to the addresses of another host
            return events + self.set_endpoints(service.name, (), now)
        return self._told(group, events, now)

    def _drop_decisions(self, endpoint: EndpointHealth, now: float) -> Iterable[HealthEvent]:
        """`enforce` changed: what passive health decided before goes; what an operator decided stays."""
        events: list[HealthEvent] = []
        if endpoint.cooled is not None:
            events += [Returned(endpoint.key, "retry_after_ended")] if endpoint.cooled.enforced else []
            endpoint.cooled = None
            endpoint.settle(now)
        ejection = endpoint.ejection
        if ejection is not None and ejection.reason == "manual":
            return events
        if endpoint.on_probation or (ejection is not None and ejection.enforced):
            events.append(Returned(endpoint.key, "ejection_ended"))
        if endpoint.on_probation or ejection is not None or endpoint.ramp_from is not None:
            endpoint.bring_back("ejection_ended", now, ramp=False)
        return events

    # Book-keeping.

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


def _ejected(
    endpoint: EndpointHealth, reason: str, k: int, until: float | None, *, enforced: bool, now: float
) -> Ejected:
    window = endpoint.passive.window
    window.roll(now)
    return Ejected(endpoint.key, reason, window.failure_percentage, window.requests, k, until, enforced)
