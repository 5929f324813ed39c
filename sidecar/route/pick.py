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

from collections.abc import Sequence
from random import Random
from typing import Protocol, TypeVar

from sidecar.terms import EndpointKey


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

    def overloaded(self, now: float) -> bool:
        """Whether only its own limit keeps it from being picked now."""

    def why(self) -> str:
        """Why it is out of rotation."""


E = TypeVar("E", bound=Endpoint)


def least_request(endpoints: Sequence[E], rng: Random, now: float) -> E:
    """The less loaded of two drawn at random; of equals the first drawn, so ties are spread too."""
    count = len(endpoints)
    if count == 1:
        return endpoints[0]
    first = int(rng.random() * count)
    second = int(rng.random() * (count - 1))
    one, other = endpoints[first], endpoints[second + (second >= first)]
    if (other.in_flight + 1) * one.share(now) < (one.in_flight + 1) * other.share(now):
        return other
    return one


class RoundRobin:
    """Each endpoint in its turn, by the order of their addresses; whoever comes or goes shifts nobody's turn."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = EndpointKey("", "")

    def pick(self, endpoints: Sequence[E]) -> E:
        following = [endpoint for endpoint in endpoints if endpoint.key > self._last]
        chosen = min(following or endpoints, key=lambda endpoint: endpoint.key)
        self._last = chosen.key
        return chosen
