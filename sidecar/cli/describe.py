"""Endpoints and events in words, one line each.

In:      messages of llmsidecar.v1, and `now` where a time is told relative to it.
Out:     cells and lines; times of day are local, as a person at the terminal expects.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from llmsidecar.v1 import health_pb2 as pb

from sidecar.cli.plain import plain
from sidecar.cli.table import Cell, Styled, clean, paint

ENDPOINT_HEADER = ("SERVICE", "ENDPOINT", "STATE", "IN FLIGHT", "REQUESTS", "FAILED", "UNTIL", "REASON")

COOLING_HEADER = ("SERVICE", "WHAT", "NAME", "UNTIL", "REASON")

_IN_ROTATION = (pb.ENDPOINT_STATE_AVAILABLE, pb.ENDPOINT_STATE_RAMP)
_STATE_STYLE = {"available": "good", "ejected": "bad", "probe_failed": "bad"}
EVENT_STYLE = {
    "gap": "bad",
    "endpoint_ejected": "bad",
    "service_unavailable": "bad",
    "policy_rejected": "bad",
    "endpoint_returned": "good",
    "service_recovered": "good",
    "policy_applied": "good",
    "endpoint_probation": "warn",
    "fallback": "warn",
    "attempt_finished": "dim",
}


def endpoint_row(endpoint: pb.Endpoint, now: datetime) -> list[Cell]:
    """One endpoint under ENDPOINT_HEADER."""
    state = "at its limit" if at_its_limit(endpoint) else plain(endpoint).get("state", "unspecified")
    return [
        endpoint.service,
        endpoint.endpoint,
        Styled(str(state), _STATE_STYLE.get(str(state), "warn")),
        in_flight_words(endpoint),
        str(endpoint.requests),
        f"{endpoint.failures} ({endpoint.failure_percentage:.0f} %)" if endpoint.failures else "0",
        _until(endpoint, now),
        endpoint.reason,
    ]


def cooling_row(scope: pb.ScopeCooled, now: datetime) -> list[Cell]:
    """A key, a model or a service that is left alone, under COOLING_HEADER."""
    return [scope.service, scope.scope, scope.name, _until(scope, now), Styled(scope.reason, "warn")]


def in_rotation(endpoint: pb.Endpoint) -> bool:
    """Requests go there, be it as one of a growing share or when its limit has room again."""
    return endpoint.state in _IN_ROTATION


def at_its_limit(endpoint: pb.Endpoint) -> bool:
    """In rotation, but what comes now goes elsewhere: as many requests are in flight as adaptive_concurrency allows."""
    return in_rotation(endpoint) and not endpoint.available


def event_line(event: pb.HealthEvent, *, colour: bool) -> str:
    """Time, type, what happened, and the number to resume from."""
    kind = event.WhichOneof("event") or event.type or "unknown"
    name = Styled(kind, EVENT_STYLE[kind]) if kind in EVENT_STYLE else kind
    number = paint(Styled(f"#{event.sequence}", "dim"), colour=colour)
    return f"{time_of_day(event.time)}  {paint(name, colour=colour, width=19)}  {clean(event_words(event))}  {number}"


def event_words(event: pb.HealthEvent) -> str:
    """What happened, without time and type."""
    match event.WhichOneof("event"):
        case "snapshot":
            endpoints = event.snapshot.endpoints
            up = sum(map(in_rotation, endpoints))
            full = sum(map(at_its_limit, endpoints))
            limited = f" ({full} at its limit)" if full == 1 else f" ({full} at their limits)" if full else ""
            generation = event.snapshot.policy_generation
            return f"{up} of {len(endpoints)} endpoints in rotation{limited}, policy generation {generation}"
        case "gap":
            return _gap(event.gap)
        case "endpoint_ejected":
            return _ejected(event.endpoint_ejected)
        case "endpoint_returned":
            returned = event.endpoint_returned
            return f"{returned.service} {returned.endpoint}: {returned.reason}"
        case "endpoint_probation":
            probation = event.endpoint_probation
            decide = "request decides" if probation.requests == 1 else f"{probation.requests} requests decide"
            return f"{probation.service} {probation.endpoint}: the next {decide}"
        case "probe_changed":
            probe = event.probe_changed
            verdict = "healthy" if probe.healthy else "unhealthy"
            return f"{probe.service} {probe.endpoint} is {verdict}{_because(probe.reason)}"
        case "service_unavailable":
            lost = event.service_unavailable
            return f"{lost.service} has no endpoint in rotation{_because(lost.reason)}"
        case "service_recovered":
            return f"{event.service_recovered.service} is back"
        case "scope_cooled":
            scope = event.scope_cooled
            would = "" if scope.enforced else " (only told: enforce is false)"
            until = time_of_day(scope.until)
            what = f"{scope.service}: {scope.scope} {scope.name}"
            return f"{what} is left alone until {until}{_because(scope.reason)}{would}"
        case "scope_returned":
            back = event.scope_returned
            return f"{back.service}: {back.scope} {back.name} may be used again"
        case "fallback":
            fallback = event.fallback
            origin = getattr(fallback, "from")  # a keyword of Python
            return f"{origin} -> {fallback.to}: {fallback.reason} (request {fallback.request_id})"
        case "policy_applied":
            applied = event.policy_applied
            return f"generation {applied.generation} from {applied.source}{_because(applied.comment)}"
        case "policy_rejected":
            problems = "; ".join(f"{p.field}: {p.description}" for p in event.policy_rejected.problems)
            return f"from {event.policy_rejected.source}: {problems}"
        case "endpoint_added":
            return f"{event.endpoint_added.service} {event.endpoint_added.endpoint}"
        case "endpoint_removed":
            return f"{event.endpoint_removed.service} {event.endpoint_removed.endpoint}"
        case "attempt_finished":
            return _attempt(event.attempt_finished)
        case _:
            return "of a kind that this version does not know"


def time_of_day(stamp: Timestamp) -> str:
    """Local, with milliseconds."""
    return _local(stamp).strftime("%H:%M:%S.%f")[:-3]


def date_and_time(stamp: Timestamp) -> str:
    return _local(stamp).strftime("%Y-%m-%d %H:%M:%S")


def short_time(seconds: float) -> str:
    """A length to look at: `85ms`, `1.20s`, `4m05s`."""
    if round(seconds, 3) < 1:
        return f"{seconds * 1000:.0f}ms"
    if round(seconds, 2) < 60:
        return f"{seconds:.2f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02}s"


def seconds_of(duration: Duration) -> float:
    return float(duration.ToNanoseconds()) / 1e9


def _local(stamp: Timestamp) -> datetime:
    return datetime.fromtimestamp(stamp.ToNanoseconds() / 1e9).astimezone()


def _until(told: pb.Endpoint | pb.ScopeCooled, now: datetime) -> str:
    if not told.HasField("until"):
        return "-"
    left = _local(told.until) - now
    return f"in {max(left, timedelta()).total_seconds():.0f}s"


def in_flight_words(endpoint: pb.Endpoint) -> str:
    """With what still counts of requests that were given up, and the limit, where there is one: `9+2 of 12`."""
    ghosts = f"+{endpoint.ghosts}" if endpoint.ghosts else ""
    limit = f" of {max(1, int(endpoint.concurrency_limit))}" if endpoint.HasField("concurrency_limit") else ""
    return f"{endpoint.in_flight}{ghosts}{limit}"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _gap(gap: pb.Gap) -> str:
    lost = []
    if gap.last_missed:
        lost.append(f"events {gap.first_missed} to {gap.last_missed}")
    if gap.attempts_missed:
        lost.append(f"{gap.attempts_missed} attempts")
    return f"{' and '.join(lost)} missed: the daemon no longer holds them"


def _ejected(ejected: pb.EndpointEjected) -> str:
    length = (
        f"for {short_time(seconds_of(ejected.duration))}"
        if ejected.HasField("duration")
        else "until restored"
    )
    seen = f", {ejected.failure_percentage:.0f} % of {ejected.requests} failed" if ejected.requests else ""
    only_reported = "" if ejected.enforced else " (only reported: enforce is false)"
    multiplier = f", k={ejected.ejection_multiplier}" if ejected.ejection_multiplier else ""
    return f"{ejected.service} {ejected.endpoint} {length}: {ejected.reason}{seen}{multiplier}{only_reported}"


def _attempt(attempt: pb.AttemptFinished) -> str:
    first = (
        f"first packet {short_time(seconds_of(attempt.first_packet))}, "
        if attempt.HasField("first_packet")
        else ""
    )
    return (
        f"{attempt.service} {attempt.endpoint} attempt {attempt.attempt}: {attempt.outcome}, "
        f"{first}{short_time(seconds_of(attempt.duration))} in all (request {attempt.request_id})"
    )
