"""The simplest endpoint that fulfils route's Endpoint protocol: out of rotation until a moment, or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from sidecar.frozen import replace
from sidecar.policy.snapshot import Route, Service, Url, WaitingLine
from sidecar.route.candidates import Candidates, ServicePicker
from sidecar.terms import EndpointKey


@dataclass(slots=True)
class Spot:
    key: EndpointKey
    in_flight: int = 0
    until: float = 0.0
    weight: float = 1.0
    thinned: bool = False  # back, but not for this request: probation or ramp
    pace: float | None = None
    limited: bool = False  # at its own limit
    asks_for_rest: bool = False  # the reason of `until`
    rate_limited: bool = False  # with a 429

    def available(self, now: float) -> bool:
        return self.until <= now and not self.thinned and not self.limited

    def cooling(self, now: float) -> bool:
        return self.asks_for_rest and self.until > now

    def overloaded(self, now: float) -> bool:
        return self.until <= now and self.limited

    def share(self, now: float) -> float:
        return self.weight

    def due_back(self, now: float) -> float:
        return max(self.until, now)

    def pace_at(self, now: float) -> float | None:
        return self.pace

    def why(self) -> str:
        return "ejected" if self.until else ""

    def __str__(self) -> str:
        return f"{self.key.service}/{self.key.address}"


def spot(name: str, **facts: float) -> Spot:
    """`own/a` as an endpoint."""
    service, _, address = name.partition("/")
    made = Spot(EndpointKey(service, address))
    for fact, value in facts.items():
        setattr(made, fact, value)
    return made


def service(name: str, **fields: object) -> Service:
    plain = Service(name, Url("http", name, 80, "/v1", name))
    return replace(plain, **fields)


def giving(endpoints: Sequence[Spot]) -> Callable[[], Sequence[Spot]]:
    return lambda: endpoints


def candidates(
    route: Route,
    endpoints: Mapping[str, Sequence[Spot]],
    rng: Random,
    limits: Mapping[str, int] | None = None,
    lines: Mapping[str, WaitingLine] | None = None,
) -> Candidates[Spot]:
    """A route's candidates over these endpoints; `limits` are max_concurrency and `lines` queue, by service."""
    services = [
        service(name, max_concurrency=(limits or {}).get(name), queue=(lines or {}).get(name))
        for name in route.services
    ]
    pickers = [ServicePicker(one, giving(endpoints[one.name]), rng) for one in services]
    return Candidates(pickers)
