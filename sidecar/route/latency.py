"""Peak EWMA: the endpoint that is likely to begin its answer first.

In:      the endpoints in rotation, how fast each begins to answer and how many requests it has.
Out:     the cheaper of two drawn at random; cost is the time of a first packet times what stands before it.
Rules:   one that nothing is known of is tried, but by one request at a time until it has shown how fast it is.
         Weights and a ramp's share divide the cost.
Source:  Finagle's peak EWMA load balancer; Linkerd's `ewma`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from random import Random
from typing import Generic

from sidecar.route.ask import Ask
from sidecar.route.pick import E, draw_two, weight_of


class PeakEwma(Generic[E]):
    """Of one service."""

    __slots__ = ("_rng", "_weights")

    def __init__(self, weights: Mapping[str, int] | None, rng: Random) -> None:
        self._weights = weights
        self._rng = rng

    def pick(self, endpoints: Sequence[E], ask: Ask, now: float) -> E:
        if len(endpoints) == 1:
            return endpoints[0]
        one, other = draw_two(endpoints, self._rng)
        return other if self._cost(other, now) < self._cost(one, now) else one

    def _cost(self, endpoint: E, now: float) -> float:
        pace = endpoint.pace_at(now)
        if pace is None:
            return inf if endpoint.in_flight else 0.0
        share = endpoint.share(now) * weight_of(endpoint, self._weights)
        return pace * (endpoint.in_flight + 1) / share if share > 0.0 else inf
