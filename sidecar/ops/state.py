"""What /api/state answers: everything the live page shows, as JSON-ready data.

In:      callables that are asked at each request; changes of state as they happen.
Out:     a mapping; see `StateView.read`.
Units:   `*_ms` milliseconds, `*_seconds` seconds; `until_seconds` is how long an endpoint stays out.
Limits:  the last EVENTS changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from sidecar.frozen import Frozen
from sidecar.health.events import ScopeCooled
from sidecar.ops.series import Series

EVENTS = 100


class EndpointStatus(Protocol):
    """What the page shows of an endpoint; the ledger's statuses have it all."""

    @property
    def service(self) -> str: ...
    @property
    def endpoint(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def available(self) -> bool: ...
    @property
    def reason(self) -> str: ...
    @property
    def until(self) -> float | None: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def requests(self) -> int: ...
    @property
    def failures(self) -> int: ...
    @property
    def failure_percentage(self) -> float: ...
    @property
    def consecutive_failures(self) -> int: ...
    @property
    def ejection_multiplier(self) -> int: ...
    @property
    def concurrency_limit(self) -> float | None: ...
    @property
    def ghosts(self) -> int: ...


class RecentEvents:
    """The last changes, newest first."""

    def __init__(self, capacity: int = EVENTS) -> None:
        self._events: deque[Mapping[str, object]] = deque(maxlen=capacity)

    def add(self, fields: Mapping[str, object]) -> None:
        self._events.appendleft(fields)

    def read(self) -> list[Mapping[str, object]]:
        return list(self._events)


class StateView(Frozen):
    version: str
    started_at: float
    tasks: Callable[[], int]  # of the event loop; no request has one, so it tells of leaks
    clock: Callable[[], float]
    wall_time: Callable[[], str]  # RFC 3339, as the events bear it
    not_ready: Callable[[], str | None]
    policy_generation: Callable[[], int]
    statuses: Callable[[], Sequence[EndpointStatus]]
    cooling: Callable[[], Sequence[ScopeCooled]]
    active_requests: Callable[[], Mapping[str, int]]
    series: Series
    events: RecentEvents

    def read(self) -> dict[str, object]:
        now = self.clock()
        return {
            "version": self.version,
            "time": self.wall_time(),
            "uptime_seconds": round(now - self.started_at, 1),
            "tasks": self.tasks(),
            "not_ready": self.not_ready(),
            "policy_generation": self.policy_generation(),
            "services": self._services(now),
            "series": self.series.read(now),
            "events": self.events.read(),
        }

    def _services(self, now: float) -> list[dict[str, object]]:
        active = self.active_requests()
        endpoints: dict[str, list[dict[str, object]]] = {}
        for status in self.statuses():
            endpoints.setdefault(status.service, []).append(_endpoint(status, now))
        cooling: dict[str, list[dict[str, object]]] = {}
        for scope in self.cooling():
            cooling.setdefault(scope.service, []).append(_scope(scope, now))
        return [
            {
                "name": name,
                "active_requests": active.get(name, 0),
                "endpoints": listed,
                "left_alone": cooling.get(name, []),
            }
            for name, listed in endpoints.items()
        ]


def _scope(scope: ScopeCooled, now: float) -> dict[str, object]:
    return {
        "scope": scope.scope,
        "name": scope.name,
        "reason": scope.reason,
        "until_seconds": round(max(0.0, scope.until - now), 1),
    }


def _endpoint(status: EndpointStatus, now: float) -> dict[str, object]:
    limit = status.concurrency_limit
    return {
        "endpoint": status.endpoint,
        "state": status.state,
        "available": status.available,
        "reason": status.reason,
        "until_seconds": None if status.until is None else round(max(0.0, status.until - now), 1),
        "in_flight": status.in_flight,
        "requests": status.requests,
        "failures": status.failures,
        "failure_percentage": round(status.failure_percentage, 1),
        "consecutive_failures": status.consecutive_failures,
        "ejection_multiplier": status.ejection_multiplier,
        "concurrency_limit": None if limit is None else round(limit, 1),
        "ghosts": status.ghosts,
    }
