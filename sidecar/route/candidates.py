"""What a request may be sent to: the endpoints of its route's services, best first.

In:      a route, and a picker for each of its services; their endpoints as health sees them at that moment.
Out:     an endpoint that is in rotation, or Skipped with the reason.
Rules:   max_concurrency counts what is in flight over all endpoints of the service.
         Ejection never leaves a route with nothing to try: when nobody is in rotation, the endpoint that is
         due back first stands in (last_resort, due_first). An adaptive limit sends requests elsewhere, so where
         there is no elsewhere it gives way in the same manner. Nothing lifts max_concurrency.
         A service that is closed, that is, which said that it wants nothing for a time, is never asked.
Limits:  one picker a service serves all requests; Candidates is a request's view of those of its route.
Errors:  none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import inf
from random import Random
from typing import Generic

from sidecar.choice import Chooser, Skipped
from sidecar.policy.snapshot import Service
from sidecar.route.ask import ANYTHING, Ask
from sidecar.route.pick import E, least_request
from sidecar.route.strategy import Strategy, strategy_of
from sidecar.terms import EndpointKey

Closed = Callable[[str | None, float], Skipped | None]


def never_closed(model: str | None, now: float) -> Skipped | None:
    return None


class ServicePicker(Generic[E]):
    """Picks within one service; kept as long as the policy is, for round robin's turn."""

    __slots__ = ("_closed", "_endpoints", "_limit", "_rng", "_strategy", "service", "waiting")

    def __init__(
        self,
        service: Service,
        endpoints: Callable[[], Sequence[E]],
        rng: Random,
        closed: Closed = never_closed,
    ) -> None:
        """`closed`: why nothing may be sent for this model now, if so."""
        self._closed = closed
        self.service = service
        self._endpoints = endpoints
        self._limit = float(service.max_concurrency or inf)
        self._rng = rng
        self._strategy: Strategy[E] = strategy_of(service, rng)
        self.waiting = 0  # requests in its line, as whoever keeps it says

    def pick(self, avoid: Collection[EndpointKey], now: float, ask: Ask = ANYTHING) -> E | Skipped:
        """An endpoint in rotation that is not among those to avoid; nobody overtakes those who wait."""
        found = self.pick_in_turn(avoid, now, ask)
        return Skipped("overloaded", now) if self.waiting and not isinstance(found, Skipped) else found

    def may_wait(self) -> float | None:
        """How long a request may stand in the service's line; None: there is none, or it is full."""
        queue = self.service.queue
        return None if queue is None or self.waiting >= queue.max_requests else queue.timeout

    def pick_in_turn(self, avoid: Collection[EndpointKey], now: float, ask: Ask = ANYTHING) -> E | Skipped:
        """The same for a request whose turn it is in the line."""
        if (skipped := self._closed(ask.model, now)) is not None:
            return skipped
        endpoints = self._endpoints()
        if len(endpoints) == 1:  # as most services have
            only = endpoints[0]
            free = only.available(now) and not (avoid and only.key in avoid) and not self._full(endpoints)
            return only if free else self._skipped(endpoints, avoid, now)
        usable = [e for e in endpoints if e.available(now) and e.key not in avoid]
        if not usable or self._full(endpoints):
            return self._skipped(endpoints, avoid, now)
        return usable[0] if len(usable) == 1 else self._strategy.pick(usable, ask, now)

    def usable(self, now: float, ask: Ask = ANYTHING) -> bool:
        """Whether pick would find an endpoint; takes nobody's turn."""
        if self._closed(ask.model, now) is not None:
            return False
        endpoints = self._endpoints()
        return not self._full(endpoints) and any(e.available(now) for e in endpoints)

    def due_first(self, avoid: Collection[EndpointKey], now: float, ask: Ask = ANYTHING) -> E | None:
        """The endpoint due back first, in rotation or not, and of equals the less loaded one; none that wants to be
        left alone."""
        endpoints = self._endpoints()
        if self._full(endpoints) or self._closed(ask.model, now) is not None:
            return None
        allowed = [e for e in endpoints if e.key not in avoid and not e.cooling(now)]
        if not allowed:
            return None
        soonest = min(e.due_back(now) for e in allowed)
        equals = [e for e in allowed if e.due_back(now) == soonest]
        return least_request(equals, self._rng, now, self.service.weights)

    def _full(self, endpoints: Sequence[E]) -> bool:
        return self._limit != inf and sum(e.in_flight for e in endpoints) >= self._limit

    def _skipped(self, endpoints: Sequence[E], avoid: Collection[EndpointKey], now: float) -> Skipped:
        if not endpoints:
            return Skipped("no_endpoint", inf)
        allowed = [e for e in endpoints if e.key not in avoid]
        if any(e.available(now) or e.overloaded(now) for e in allowed):  # so the service is full, or they are
            return Skipped("overloaded", now)
        due_back = min((e.due_back(now) for e in allowed), default=inf)
        if not all(e.cooling(now) for e in endpoints):
            return Skipped("unhealthy", due_back)
        return Skipped("rate_limited" if all(e.rate_limited for e in endpoints) else "cooling", due_back)


class Candidates(Chooser[E]):
    """The services of a route by rank, for one request: 0 is the primary."""

    __slots__ = ("_ask", "_pickers")

    def __init__(self, pickers: Sequence[ServicePicker[E]], ask: Ask = ANYTHING) -> None:
        super().__init__(len(pickers))
        self._pickers = tuple(pickers)
        self._ask = ask

    def service_name(self, rank: int) -> str:
        return self._pickers[rank].service.name

    def pick(self, rank: int, avoid: Collection[EndpointKey], now: float) -> E | Skipped:
        return self._pickers[rank].pick(avoid, now, self._ask)

    def pick_in_turn(self, rank: int, avoid: Collection[EndpointKey], now: float) -> E | Skipped:
        return self._pickers[rank].pick_in_turn(avoid, now, self._ask)

    def may_wait(self, rank: int) -> float | None:
        return self._pickers[rank].may_wait()

    def has_other_keys(self, rank: int) -> bool:
        return len(self._pickers[rank].service.credentials) > 1

    def usable(self, rank: int, now: float) -> bool:
        return self._pickers[rank].usable(now, self._ask)

    def due_first(self, rank: int, avoid: Collection[EndpointKey], now: float) -> E | None:
        return self._pickers[rank].due_first(avoid, now, self._ask)

    def last_resort(self, now: float) -> tuple[int, E] | None:
        """Over all services, the endpoint due back first; of equals the one of the better rank."""
        firsts = ((rank, self.due_first(rank, (), now)) for rank in range(self.count))
        found = [(rank, endpoint) for rank, endpoint in firsts if endpoint is not None]
        return min(found, key=lambda place: place[1].due_back(now), default=None)
