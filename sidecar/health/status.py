"""What an operator sees of one endpoint at a moment; the fields are those of the message Endpoint.

Units:   `until` and `since` are monotonic seconds; whoever shows them turns them into wall time.
"""

from __future__ import annotations

from sidecar.frozen import Frozen
from sidecar.health.endpoint import IN_ROTATION, EndpointHealth, State


class EndpointStatus(Frozen):
    """One endpoint.

    available           may be picked now; a ramping one is, whatever its share; one at its adaptive limit is not,
                        and has the reason `overloaded`
    until               end of the ejection, the cooling or the ramp; None: no such end is known
    requests, failures  over the window
    concurrency_limit   adaptive, at this moment; None: there is none
    ghosts              cut attempts that may still keep the server busy; they count beside `in_flight`
    beneath             states that hold too, and show once `state` has ended
    """

    service: str
    endpoint: str
    state: str
    available: bool
    reason: str
    until: float | None
    in_flight: int
    requests: int
    failures: int
    failure_percentage: float
    consecutive_failures: int
    ejection_multiplier: int
    since: float
    concurrency_limit: float | None = None
    ghosts: int = 0
    beneath: tuple[str, ...] = ()


def status_of(endpoint: EndpointHealth, now: float) -> EndpointStatus:
    reason, until = _reason_and_end(endpoint, now)
    window = endpoint.passive.window
    window.roll(now)
    return EndpointStatus(
        service=endpoint.key.service,
        endpoint=endpoint.key.address,
        state=endpoint.state.value,
        available=(endpoint.state in IN_ROTATION and not endpoint.overloaded(now))
        or (endpoint.state is State.PROBATION and endpoint.has_free_slot),
        reason=reason,
        until=until,
        in_flight=endpoint.in_flight,
        requests=window.requests,
        failures=window.failures,
        failure_percentage=window.failure_percentage,
        consecutive_failures=endpoint.passive.run,
        ejection_multiplier=endpoint.passive.multiplier(now),
        since=endpoint.since,
        concurrency_limit=endpoint.limit.at(now) if endpoint.limit is not None else None,
        ghosts=endpoint.limit.ghosts(now) if endpoint.limit is not None else 0,
        beneath=_beneath(endpoint),
    )


def _beneath(endpoint: EndpointHealth) -> tuple[str, ...]:
    """Who joins in the middle can only follow the events if it knows every fact, not the topmost alone."""
    ejection, cooling = endpoint.ejection, endpoint.cooled
    facts = (
        (State.EJECTED, ejection is not None and ejection.enforced),
        (State.COOLING, cooling is not None and cooling.enforced),
        (State.PROBE_FAILED, not endpoint.probe.healthy),
        (State.PROBATION, endpoint.on_probation),
    )
    return tuple(state.value for state, holds in facts if holds and state is not endpoint.state)


def _reason_and_end(endpoint: EndpointHealth, now: float) -> tuple[str, float | None]:
    match endpoint.state:
        case State.EJECTED if endpoint.ejection is not None:
            return endpoint.ejection.reason, endpoint.ejection.until
        case State.COOLING if endpoint.cooled is not None:
            return endpoint.cooled.reason, endpoint.cooled.until
        case State.PROBE_FAILED:
            return endpoint.probe.reason, None
        case State.PROBATION:
            return "ejection_ended", None
        case State.RAMP if endpoint.ramp_from is not None:
            reason = "overloaded" if endpoint.overloaded(now) else endpoint.return_reason
            return reason, endpoint.ramp_from + endpoint.passive.policy.ramp
        case _:
            return "overloaded" if endpoint.overloaded(now) else "", None
