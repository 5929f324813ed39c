"""Out of rotation and back: what is decided about one endpoint, and the events that tell it.

In:      an endpoint and its group, which says whether one more may leave; an outcome, a wish, an operator, a changed
         policy or only time; each with `now`.
Out:     the endpoint as it is then; health events, in the order they were decided.
Units:   seconds, monotonic.
Rules:   - Return: by timer, into a probation of `probation_requests` attempts (in flight and passed
           together); when that many succeeded (a stream does with its first packet) it returns and ramps up;
           one failure ejects it again, with k one higher; an ignorable one gives its place back, and so does a
           late one. `probation_requests: 0` returns it at once, and so does the share limit where it would not
           let the endpoint leave again.
         - Retry-After cools an endpoint until then, at most `max_ejection_time`, whatever the verdict says
           beside it; k and the share limit have no part in it. A wish that would move the end by less than
           a second changes nothing, or every refusal of a burst would be an event.
         - After failed probes it ramps up like after an ejection.
         - `enforce: false` tells what it would do, once for the length of each ejection it would make, and
           keeps k; when `enforce` changes, what was decided under the other setting is dropped.
         - An operator's ejection is enforced and unlimited, and ends through probation like any other;
           a restore puts the endpoint back as if it were new, failed probes forgotten too.
"""

from __future__ import annotations

from random import Random
from typing import Final

from sidecar.failure import Verdict
from sidecar.health.endpoint import Absence, EndpointHealth, State
from sidecar.health.events import Ejected, HealthEvent, Probation, ProbeChanged, Returned
from sidecar.health.group import Group
from sidecar.policy.snapshot import Service

LEAST_EXTENSION: Final = 1.0


# Out.


def eject(endpoint: EndpointHealth, reason: str, rng: Random, now: float) -> HealthEvent:
    """By a rule of passive health."""
    enforced = endpoint.passive.policy.enforce
    k, until = endpoint.passive.eject(rng, now)
    endpoint.eject(Absence(reason, until, enforced), now)
    return _ejected(endpoint, reason, k, until, enforced=enforced, now=now)


def eject_by_hand(endpoint: EndpointHealth, duration: float | None, now: float) -> HealthEvent:
    """By an operator, for `duration` seconds; None: until it is restored. Replaces a present ejection."""
    until = None if duration is None else now + duration
    k = endpoint.passive.multiplier(now)
    endpoint.eject(Absence("manual", until, enforced=True), now)
    return _ejected(endpoint, "manual", k, until, enforced=True, now=now)


def cool(
    endpoint: EndpointHealth, retry_after: float, now: float, *, rate_limited: bool
) -> list[HealthEvent]:
    """As it asked."""
    policy = endpoint.passive.policy
    until = now + min(retry_after, policy.max_ejection_time)
    present = endpoint.cooled
    if present is not None and present.until is not None and until < present.until + LEAST_EXTENSION:
        return []
    endpoint.cooled = Absence("retry_after", until, policy.enforce, rate_limited)
    endpoint.settle(now)
    k = endpoint.passive.multiplier(now)
    return [_ejected(endpoint, "retry_after", k, until, enforced=policy.enforce, now=now)]


# Back.


def judge_probation(
    endpoint: EndpointHealth, group: Group, verdict: Verdict, began: float | None, rng: Random, now: float
) -> list[HealthEvent]:
    """One of its attempts has ended."""
    is_news = endpoint.hear_end(began)
    if verdict is Verdict.FAILURE:
        endpoint.passive.observe(failed=True, now=now)
        if not group.has_room(endpoint):
            return [_return(endpoint, "ejection_ended", now)]
        return [eject(endpoint, "probation_failed", rng, now)]
    return pass_probation(endpoint, now) if is_news and verdict is Verdict.SUCCESS else []


def pass_probation(endpoint: EndpointHealth, now: float) -> list[HealthEvent]:
    """One of its attempts has succeeded."""
    endpoint.passive.observe(failed=False, now=now)
    endpoint.passed += 1
    if endpoint.passed >= endpoint.passive.policy.probation_requests:
        return [_return(endpoint, "probation_passed", now)]
    return []


def end_what_is_over(endpoint: EndpointHealth, group: Group, now: float) -> list[HealthEvent]:
    """Cooling, a ramp, an ejection."""
    events: list[HealthEvent] = []
    cooling, ejection, policy = endpoint.cooled, endpoint.ejection, endpoint.passive.policy
    if cooling is not None and cooling.is_over(now):
        events += _end_cooling(endpoint, cooling, now)
    if endpoint.ramp_from is not None and endpoint.ramp_from + policy.ramp <= now:
        endpoint.end_ramp(now)
    if ejection is not None and ejection.is_over(now):
        events += _end_ejection(endpoint, group, ejection, now)
    return events


def restore(endpoint: EndpointHealth, now: float) -> list[HealthEvent]:
    """By an operator, as if it were new."""
    events: list[HealthEvent] = []
    if endpoint.probe.reset():
        events.append(ProbeChanged(endpoint.key, True, "manual"))
    if endpoint.state in (State.EJECTED, State.COOLING) or endpoint.on_probation:
        events.append(Returned(endpoint.key, "manual"))
    endpoint.cooled = None
    endpoint.bring_back("manual", now, ramp=False)
    endpoint.passive.forget(now)
    return events


# What is said from elsewhere.


def follow_probe(endpoint: EndpointHealth, now: float) -> None:
    """Its probes have another verdict."""
    ejected = endpoint.ejection is not None and endpoint.ejection.enforced
    if endpoint.probe.healthy and not ejected and not endpoint.on_probation:
        endpoint.bring_back("probe_passed", now, ramp=endpoint.passive.policy.enforce)
    elif not endpoint.probe.healthy:
        endpoint.passive.hold(now)
    endpoint.settle(now)


def adopt(endpoint: EndpointHealth, service: Service, now: float) -> list[HealthEvent]:
    """Another policy has come for its service."""
    policy, enforced = service.passive_health, endpoint.passive.policy.enforce
    endpoint.passive.adopt(policy, now)
    events: list[HealthEvent] = []
    if policy.enforce != enforced:
        events += _drop_decisions(endpoint, now)
    elif endpoint.on_probation and endpoint.passed >= policy.probation_requests:
        events.append(_return(endpoint, "probation_passed", now))
    if service.active_health is None and endpoint.probe.reset():
        follow_probe(endpoint, now)
        events.append(ProbeChanged(endpoint.key, True, "active_health_off"))
    return events


def _drop_decisions(endpoint: EndpointHealth, now: float) -> list[HealthEvent]:
    """`enforce` changed: what passive health decided before goes; what an operator decided stays."""
    cooling, ejection = endpoint.cooled, endpoint.ejection
    events = [] if cooling is None else _end_cooling(endpoint, cooling, now)
    if ejection is not None and ejection.reason == "manual":
        return events
    if endpoint.on_probation or (ejection is not None and ejection.enforced):
        events.append(Returned(endpoint.key, "ejection_ended"))
    if endpoint.on_probation or ejection is not None or endpoint.ramp_from is not None:
        endpoint.bring_back("ejection_ended", now, ramp=False)
    return events


def _end_cooling(endpoint: EndpointHealth, cooling: Absence, now: float) -> list[HealthEvent]:
    endpoint.cooled = None
    endpoint.settle(now)
    return [Returned(endpoint.key, "retry_after_ended")] if cooling.enforced else []


def _end_ejection(endpoint: EndpointHealth, group: Group, ejection: Absence, now: float) -> list[HealthEvent]:
    if not ejection.enforced:
        endpoint.bring_back("", now, ramp=False)
        return []
    policy = endpoint.passive.policy
    if policy.probation_requests == 0 or not policy.enforce or not group.has_room(endpoint):
        return [_return(endpoint, "ejection_ended", now)]  # a failed probation could not eject it
    endpoint.put_on_probation(now)
    return [Probation(endpoint.key, policy.probation_requests)]


def _return(endpoint: EndpointHealth, reason: str, now: float) -> HealthEvent:
    endpoint.bring_back(reason, now, ramp=endpoint.passive.policy.enforce)
    return Returned(endpoint.key, reason)


def _ejected(
    endpoint: EndpointHealth, reason: str, k: int, until: float | None, *, enforced: bool, now: float
) -> Ejected:
    window = endpoint.passive.window
    window.roll(now)
    return Ejected(endpoint.key, reason, window.failure_percentage, window.requests, k, until, enforced)
