"""What the event hub tells, as values: health events, and the facts that only this room tells.

In:      records of attempts; policies accepted and refused.
Out:     a Fact and the Moment of it; nothing of protobuf, which only a watcher's messages need (convert).
Units:   a Moment is one instant on both clocks, so what lies 30 s ahead on one lies 30 s ahead on the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from sidecar.frozen import Frozen
from sidecar.health import events
from sidecar.policy.problems import Problem
from sidecar.record import AttemptRecord, RequestRecord


class Moment(NamedTuple):
    """One instant: monotonic seconds, and Unix time in nanoseconds."""

    mono: float
    wall: int

    def wall_at(self, mono: float) -> int:
        """Wall time of another monotonic moment, as seen from here."""
        return self.wall + round((mono - self.mono) * 1e9)


class Clock(Frozen):
    """The two clocks of the process, always read together."""

    mono: Callable[[], float] = time.monotonic
    wall: Callable[[], int] = time.time_ns

    def now(self) -> Moment:
        return Moment(self.mono(), self.wall())


class FellBack(Frozen):
    """An attempt that went to another service than the one before."""

    origin: str
    target: str
    reason: str
    request_id: str
    trace_id: int


class AttemptEnded(Frozen):
    service: str
    endpoint: str
    request_id: str
    trace_id: int
    number: int
    outcome: str
    first_packet: float | None
    length: float


class Installed(Frozen):
    """A policy that runs from now on."""

    generation: int
    source: str
    comment: str


class Rejected(Frozen):
    """A policy that was refused whole."""

    source: str
    problems: tuple[Problem, ...]


Fact = events.HealthEvent | FellBack | AttemptEnded | Installed | Rejected


def attempt_ended(request: RequestRecord, attempt: AttemptRecord) -> AttemptEnded:
    """What of a record a watcher may see; the record itself is not held."""
    began, first, ended = attempt.started_at, attempt.first_packet_at, attempt.ended_at
    return AttemptEnded(
        service=attempt.service,
        endpoint=attempt.endpoint,
        request_id=request.request_id,
        trace_id=request.trace_id,
        number=attempt.number,
        outcome=attempt.outcome,
        first_packet=None if first is None else first - began,
        length=0.0 if ended is None else ended - began,
    )


def services_of(fact: Fact) -> tuple[str, ...]:
    """The services a fact is about; empty: it concerns every watcher."""
    match fact:
        case FellBack(origin=origin, target=target):
            return (origin, target)
        case Installed() | Rejected():
            return ()
        case events.ServiceUnavailable(service=service) | events.ServiceRecovered(service=service):
            return (service,)
        case events.ScopeCooled(service=service) | events.ScopeReturned(service=service):
            return (service,)
        case AttemptEnded(service=service):
            return (service,)
        case _:
            return (fact.key.service,)
