"""What a request may be sent to: the endpoints of its route's services, best first.

In:      a route, and a picker for each of its services; their endpoints as health sees them at that moment.
Out:     an endpoint that is in rotation, or Skipped with the reason.
Rules:   max_concurrency counts what is in flight over all endpoints of the service.
         Ejection never leaves a route with nothing to try: when nobody is in rotation, the endpoint that is
         due back first stands in (last_resort, due_first). An adaptive limit sends requests elsewhere, so where
         there is no elsewhere it gives way in the same manner. Nothing lifts max_concurrency.
Limits:  neither class keeps state of a request: one picker a service and one Candidates a route serve all.
Errors:  none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import inf
from random import Random
from typing import Generic

from sidecar.policy.snapshot import Route, Service
from sidecar.route.pick import E, RoundRobin, least_request
from sidecar.terms import EndpointKey, Skipped


class ServicePicker(Generic[E]):
    """Picks within one service; kept as long as the service is, for round robin's turn."""

    __slots__ = ("_endpoints", "_limit", "_rng", "_turn", "service", "waiting")

    def __init__(self, service: Service, endpoints: Callable[[], Sequence[E]], rng: Random) -> None:
        self.service = service
        self._endpoints = endpoints
        self._rng = rng
        self._limit = service.max_concurrency or inf
        self._turn = RoundRobin() if service.load_balancing == "round_robin" else None
        self.waiting = 0  # requests in its line, as whoever keeps it says

    def pick(self, avoid: Collection[EndpointKey], now: float) -> E | Skipped:
        """An endpoint in rotation that is not among those to avoid; nobody overtakes those who wait."""
        return Skipped("overloaded", now) if self.waiting else self.pick_in_turn(avoid, now)

    def may_wait(self) -> float | None:
        """How long a request may stand in the service's line; None: there is none, or it is full."""
        queue = self.service.queue
        return None if queue is None or self.waiting >= queue.max_requests else queue.timeout

    def pick_in_turn(self, avoid: Collection[EndpointKey], now: float) -> E | Skipped:
        """The same for a request whose turn it is in the line."""
        endpoints = self._endpoints()
        usable = [e for e in endpoints if e.available(now) and e.key not in avoid]
        if not usable or self._full(endpoints):
            return self._skipped(endpoints, avoid, now)
        if self._turn is not None:
            return self._turn.pick(usable)
        return least_request(usable, self._rng, now)

    def usable(self, now: float) -> bool:
        """Whether pick would find an endpoint; takes nobody's turn."""
        endpoints = self._endpoints()
        return not self._full(endpoints) and any(e.available(now) for e in endpoints)

    def due_first(self, avoid: Collection[EndpointKey], now: float) -> E | None:
        """The endpoint due back first, in rotation or not."""
        endpoints = self._endpoints()
        if self._full(endpoints):
            return None
        allowed = [e for e in endpoints if e.key not in avoid]
        return min(allowed, key=lambda e: e.due_back(now), default=None)

    def _full(self, endpoints: Sequence[E]) -> bool:
        return self._limit is not inf and sum(e.in_flight for e in endpoints) >= self._limit

    def _skipped(self, endpoints: Sequence[E], avoid: Collection[EndpointKey], now: float) -> Skipped:
        if not endpoints:
            return Skipped("no_endpoint", inf)
        if self._full(endpoints) or any(e.overloaded(now) for e in endpoints if e.key not in avoid):
            return Skipped("overloaded", now)
        return Skipped(
            "unhealthy", min((e.due_back(now) for e in endpoints if e.key not in avoid), default=inf)
        )


class Candidates(Generic[E]):
    """The services of one route by rank: 0 is the primary, the rest are fallbacks. A Chooser of sidecar.attempt."""

    __slots__ = ("_pickers", "count", "route")

    def __init__(self, route: Route, pickers: Sequence[ServicePicker[E]]) -> None:
        self.route = route
        self.count = len(pickers)
        self._pickers = tuple(pickers)

    def service_name(self, rank: int) -> str:
        return self._pickers[rank].service.name

    def pick(self, rank: int, avoid: Collection[EndpointKey], now: float) -> E | Skipped:
        return self._pickers[rank].pick(avoid, now)

    def pick_in_turn(self, rank: int, avoid: Collection[EndpointKey], now: float) -> E | Skipped:
        return self._pickers[rank].pick_in_turn(avoid, now)

    def may_wait(self, rank: int) -> float | None:
        return self._pickers[rank].may_wait()

    def usable(self, rank: int, now: float) -> bool:
        return self._pickers[rank].usable(now)

    def due_first(self, rank: int, avoid: Collection[EndpointKey], now: float) -> E | None:
        return self._pickers[rank].due_first(avoid, now)

    def last_resort(self, now: float) -> tuple[int, E] | None:
        """Over all services, the endpoint due back first; of equals the one of the better rank."""
        firsts = ((rank, picker.due_first((), now)) for rank, picker in enumerate(self._pickers))
        found = [(rank, endpoint) for rank, endpoint in firsts if endpoint is not None]
        return min(found, key=lambda place: place[1].due_back(now), default=None)
