"""Changes of state in words: one mapping for each, the same in the log and on the live page.

In:      health events, and anything worth a line (`policy_applied`, `draining`, …) with its fields.
Out:     a name and JSON-ready fields. The names are those of the admin stream.
Units:   `until` turns from monotonic seconds into RFC 3339 wall time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

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
    ServiceRecovered,
    ServiceUnavailable,
)
from sidecar.telemetry.walltime import WallTime

Fields = dict[str, object]
Listener = Callable[[Fields], None]


class Changes:
    """Tells every listener of every change, in order."""

    def __init__(self, clock: WallTime, listeners: Sequence[Listener]) -> None:
        self._clock = clock
        self._listeners = listeners

    def state(self, event: str, **fields: object) -> None:
        told: Fields = {"time": self._clock.now(), "event": event, **fields}
        for listener in self._listeners:
            listener(told)

    def health_events(self, events: Sequence[HealthEvent]) -> None:
        for event in events:
            name, fields = self._describe(event)
            self.state(name, **fields)

    def _describe(self, event: HealthEvent) -> tuple[str, Fields]:
        match event:
            case ServiceUnavailable(service=service, reason=reason):
                return "service_unavailable", {"service": service, "reason": reason}
            case ServiceRecovered(service=service):
                return "service_recovered", {"service": service}
            case ScopeCooled():
                return "scope_cooled", {
                    **_scope(event),
                    "reason": event.reason,
                    "until": self._clock.at(event.until),
                    "enforced": event.enforced,
                }
            case ScopeReturned():
                return "scope_returned", _scope(event)
            case _:
                name, fields = self._describe_endpoint(event)
                return name, {"service": event.key.service, "endpoint": event.key.address, **fields}

    def _describe_endpoint(
        self, event: Ejected | Returned | Probation | ProbeChanged | EndpointAdded | EndpointRemoved
    ) -> tuple[str, Fields]:
        match event:
            case Ejected():
                return "endpoint_ejected", {
                    "reason": event.reason,
                    "failure_percentage": round(event.failure_percentage, 1),
                    "requests": event.requests,
                    "ejection_multiplier": event.multiplier,
                    "until": None if event.until is None else self._clock.at(event.until),
                    "enforced": event.enforced,
                }
            case Returned(reason=reason):
                return "endpoint_returned", {"reason": reason}
            case Probation(requests=requests):
                return "endpoint_probation", {"requests": requests}
            case ProbeChanged(healthy=healthy, reason=reason):
                return "probe_changed", {"healthy": healthy, "reason": reason}
            case EndpointAdded():
                return "endpoint_added", {}
            case EndpointRemoved():
                return "endpoint_removed", {}
            case other:
                assert_never(other)


def _scope(event: ScopeCooled | ScopeReturned) -> Fields:
    return {"service": event.service, "scope": event.scope, "name": event.name}
