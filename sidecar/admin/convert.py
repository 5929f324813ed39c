"""Facts and states of the sidecar as protobuf messages.

In:      facts with their moments, and endpoint states (monotonic seconds).
Out:     llmsidecar.v1 messages with wall time, to the microsecond.
"""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from llmsidecar.v1 import health_pb2 as pb

from sidecar.admin.facts import AttemptEnded, Fact, FellBack, Installed, Moment, Rejected
from sidecar.health import events
from sidecar.health.status import EndpointStatus
from sidecar.policy.problems import Problem


def timestamp(wall: int) -> Timestamp:
    """Unix nanoseconds as a Timestamp, cut to microseconds: all that the float of a monotonic moment holds."""
    micros = wall // 1000
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def duration(seconds: float) -> Duration:
    """Seconds as a Duration, to the microsecond."""
    micros = round(seconds * 1e6)
    return Duration(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def event_message(sequence: int, moment: Moment, fact: Fact) -> pb.HealthEvent:
    """The message of one fact; `type` names the field that is set."""
    return _named(pb.HealthEvent(sequence=sequence, time=timestamp(moment.wall)), fact, moment)


def _named(message: pb.HealthEvent, fact: Fact, moment: Moment) -> pb.HealthEvent:
    match fact:
        case events.Ejected():
            message.endpoint_ejected.CopyFrom(_ejected(fact, moment))
        case events.Returned(key=key, reason=reason):
            message.endpoint_returned.CopyFrom(
                pb.EndpointReturned(service=key.service, endpoint=key.address, reason=reason)
            )
        case events.Probation(key=key, requests=requests):
            message.endpoint_probation.CopyFrom(
                pb.EndpointProbation(service=key.service, endpoint=key.address, requests=requests)
            )
        case events.ProbeChanged(key=key, healthy=healthy, reason=reason):
            message.probe_changed.CopyFrom(
                pb.ProbeChanged(service=key.service, endpoint=key.address, healthy=healthy, reason=reason)
            )
        case events.ServiceUnavailable(service=service, reason=reason):
            message.service_unavailable.CopyFrom(pb.ServiceUnavailable(service=service, reason=reason))
        case events.ServiceRecovered(service=service):
            message.service_recovered.CopyFrom(pb.ServiceRecovered(service=service))
        case events.ScopeCooled():
            message.scope_cooled.CopyFrom(cooled_message(fact, moment))
        case events.ScopeReturned(service=service, scope=scope, name=name):
            message.scope_returned.CopyFrom(pb.ScopeReturned(service=service, scope=scope, name=name))
        case events.EndpointAdded(key=key):
            message.endpoint_added.CopyFrom(pb.EndpointAdded(service=key.service, endpoint=key.address))
        case events.EndpointRemoved(key=key):
            message.endpoint_removed.CopyFrom(pb.EndpointRemoved(service=key.service, endpoint=key.address))
        case FellBack():
            message.fallback.CopyFrom(_fallback(fact))
        case AttemptEnded():
            message.attempt_finished.CopyFrom(_attempt(fact))
        case Installed(generation=generation, source=source, comment=comment):
            message.policy_applied.CopyFrom(
                pb.PolicyApplied(generation=generation, source=source, comment=comment)
            )
        case Rejected(source=source, problems=problems):
            message.policy_rejected.CopyFrom(
                pb.PolicyRejected(source=source, problems=[_problem(p) for p in problems])
            )
    message.type = message.WhichOneof("event") or ""
    return message


def gap_message(
    moment: Moment, sequence: int, *, first: int = 0, last: int = 0, attempts: int = 0
) -> pb.HealthEvent:
    """What a reader has missed: numbers `first` to `last`, or so many attempts."""
    gap = pb.Gap(first_missed=first, last_missed=last, attempts_missed=attempts)
    return pb.HealthEvent(sequence=sequence, time=timestamp(moment.wall), type="gap", gap=gap)


def snapshot_message(
    moment: Moment,
    sequence: int,
    endpoints: Sequence[pb.Endpoint],
    cooling: Sequence[events.ScopeCooled],
    generation: int,
) -> pb.HealthEvent:
    """How things stand, event `sequence` included."""
    scopes = [cooled_message(scope, moment) for scope in cooling]
    snapshot = pb.Snapshot(endpoints=endpoints, policy_generation=generation, cooling=scopes)
    return pb.HealthEvent(sequence=sequence, time=timestamp(moment.wall), type="snapshot", snapshot=snapshot)


def cooled_message(fact: events.ScopeCooled, moment: Moment) -> pb.ScopeCooled:
    return pb.ScopeCooled(
        service=fact.service,
        scope=fact.scope,
        name=fact.name,
        reason=fact.reason,
        until=timestamp(moment.wall_at(fact.until)),
        enforced=fact.enforced,
    )


def endpoint_message(status: EndpointStatus, moment: Moment) -> pb.Endpoint:
    """One endpoint as the ledger sees it."""
    return pb.Endpoint(
        service=status.service,
        endpoint=status.endpoint,
        state=f"ENDPOINT_STATE_{status.state.upper()}",
        available=status.available,
        reason=status.reason,
        until=None if status.until is None else timestamp(moment.wall_at(status.until)),
        in_flight=status.in_flight,
        requests=status.requests,
        failures=status.failures,
        failure_percentage=status.failure_percentage,
        consecutive_failures=status.consecutive_failures,
        ejection_multiplier=status.ejection_multiplier,
        since=timestamp(moment.wall_at(status.since)),
        concurrency_limit=status.concurrency_limit,
        ghosts=status.ghosts,
        beneath=[f"ENDPOINT_STATE_{state.upper()}" for state in status.beneath],
    )


def _ejected(fact: events.Ejected, moment: Moment) -> pb.EndpointEjected:
    until = fact.until
    return pb.EndpointEjected(
        service=fact.key.service,
        endpoint=fact.key.address,
        reason=fact.reason,
        failure_percentage=fact.failure_percentage,
        requests=fact.requests,
        ejection_multiplier=fact.multiplier,
        until=None if until is None else timestamp(moment.wall_at(until)),
        enforced=fact.enforced,
        duration=None if until is None else duration(max(0.0, until - moment.mono)),
    )


def _fallback(fact: FellBack) -> pb.Fallback:
    message = pb.Fallback(
        to=fact.target, reason=fact.reason, request_id=fact.request_id, trace_id=f"{fact.trace_id:032x}"
    )
    setattr(message, "from", fact.origin)  # a keyword of Python
    return message


def _attempt(fact: AttemptEnded) -> pb.AttemptFinished:
    return pb.AttemptFinished(
        service=fact.service,
        endpoint=fact.endpoint,
        request_id=fact.request_id,
        trace_id=f"{fact.trace_id:032x}",
        attempt=fact.number,
        outcome=fact.outcome,
        first_packet=None if fact.first_packet is None else duration(fact.first_packet),
        duration=duration(fact.length),
    )


def _problem(problem: Problem) -> pb.Problem:
    return pb.Problem(field=problem.field, description=problem.description, line=problem.line or 0)
