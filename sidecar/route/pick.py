"""Chooses one endpoint among those in rotation.

In:      the endpoints of one service that may be picked now, at least one.
Out:     one of them.
Rules:   least request draws two at random and takes the less loaded: as good as scanning all for a handful,
         and many sidecars that do so do not all run to the same endpoint. A ramping endpoint weighs its
         load by its share: at a tenth of its share, one request in flight counts as ten.
Errors:  none.
Source:  Mitzenmacher, The Power of Two Choices in Randomized Load Balancing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Final, Generic, Protocol, TypeVar

from sidecar.route.ask import Ask
from sidecar.terms import EndpointKey

MANY: Final = 10


class Endpoint(Protocol):
    """What picking has to know of an endpoint's health."""

    @property
    def key(self) -> EndpointKey: ...

    @property
    def in_flight(self) -> int: ...

    def available(self, now: float) -> bool:
        """Whether it may be picked now; asking changes nothing."""

    def share(self, now: float) -> float:
        """How much of its fair share of requests it may have: 0..1."""

    def due_back(self, now: float) -> float:
        """When it may be picked again: now if it is in rotation, inf if no time is set."""

    def cooling(self, now: float) -> bool:
        """Whether it has asked to be left alone until it is due back."""

    @property
    def rate_limited(self) -> bool:
        """Whether that was with a 429."""

    def overloaded(self, now: float) -> bool:
        """Whether only its own limit keeps it from being picked now."""

    def pace_at(self, now: float) -> float | None:
        """Seconds until its first packet, on a peak-sensitive average; None: not known."""

    def why(self) -> str:
        """Why it is out of rotation."""


E = TypeVar("E", bound=Endpoint)


def weight_of(endpoint: Endpoint, weights: Mapping[str, int] | None) -> int:
    return 1 if weights is None else weights.get(endpoint.key.address, 1)


def draw_two(endpoints: Sequence[E], rng: Random) -> tuple[E, E]:
    """Two different ones of at least two, at random."""
    count = len(endpoints)
    first = int(rng.random() * count)
    second = int(rng.random() * (count - 1))
    return endpoints[first], endpoints[second + (second >= first)]


def least_request(
    endpoints: Sequence[E], rng: Random, now: float, weights: Mapping[str, int] | None = None
) -> E:
    """The less loaded of two drawn at random; of equals the first drawn, so ties are spread too."""
    if len(endpoints) == 1:
        return endpoints[0]
    one, other = draw_two(endpoints, rng)
    share, other_share = one.share(now), other.share(now)
    if weights is not None:
        if one.in_flight == other.in_flight == 0:  # idle, so nothing but chance can keep to the weights
            whole = weight_of(one, weights) + weight_of(other, weights)
            return one if rng.random() * whole < weight_of(one, weights) else other
        share, other_share = share * weight_of(one, weights), other_share * weight_of(other, weights)
    if (other.in_flight + 1) * share < (one.in_flight + 1) * other_share:
        return other
    return one


class LeastRequest(Generic[E]):
    """By two choices."""

    __slots__ = ("_rng", "_weights")

    def __init__(self, weights: Mapping[str, int] | None, rng: Random) -> None:
        self._weights = weights
        self._rng = rng

    def pick(self, endpoints: Sequence[E], ask: Ask, now: float) -> E:
        return least_request(endpoints, self._rng, now, self._weights)


class RoundRobin(Generic[E]):
    """Each endpoint in its turn, as often as its weight says and spread evenly; whoever comes or goes shifts nobody.

    Each is owed its weight a turn; the one that is owed most has it and pays what all are owed (nginx does it so).
    """

    __slots__ = ("_owed", "_weights")

    def __init__(self, weights: Mapping[str, int] | None = None) -> None:
        self._weights = weights
        self._owed: dict[EndpointKey, int] = {}

    def pick(self, endpoints: Sequence[E], ask: Ask, now: float) -> E:
        owed, whole = self._owed, 0
        if len(owed) > MANY * len(endpoints):  # addresses come and go
            owed.clear()
        for endpoint in endpoints:
            weight = weight_of(endpoint, self._weights)
            owed[endpoint.key] = owed.get(endpoint.key, 0) + weight
            whole += weight
        chosen = min(endpoints, key=lambda endpoint: (-owed[endpoint.key], endpoint.key))
        owed[chosen.key] -= whole
        return chosen
