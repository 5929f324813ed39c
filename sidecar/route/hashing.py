"""Consistent hash: requests that are alike go to the same endpoint while it is in rotation and has room.

In:      the endpoints in rotation, the key of the request.
Out:     one of them. Without a key: as least request picks.
Rules:   every endpoint has a score for every key (rendezvous hashing); the best one with room is picked. When an
         endpoint leaves, only its own keys move; when it returns, they come back. A weight multiplies its keys.
         Room: an endpoint may have up to OVERLOAD times its fair part of what is in flight, so that one key that
         everybody asks for cannot drown it; beyond that the next in the key's own order is picked.
Source:  Thaler and Ravishankar, A Name-Based Mapping Scheme for Rendezvous; Mirrokni, Thorup and Zadimoghaddam,
         Consistent Hashing with Bounded Loads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from random import Random
from typing import Generic

from sidecar.digest import blake2b
from sidecar.policy.snapshot import HashOn
from sidecar.route.ask import Ask
from sidecar.route.pick import E, least_request, weight_of

OVERLOAD = 1.25
FEW = 2  # drown nobody; a pod with one request at a time must not lose its cache to the rule above
_SPAN = float(2**64)


class ConsistentHash(Generic[E]):
    """Of one service."""

    __slots__ = ("_on", "_rng", "_weights")

    def __init__(self, on: HashOn, weights: Mapping[str, int] | None, rng: Random) -> None:
        self._on = on
        self._weights = weights
        self._rng = rng

    def pick(self, endpoints: Sequence[E], ask: Ask, now: float) -> E:
        key = ask.key(self._on)
        if key is None or len(endpoints) == 1:
            return least_request(endpoints, self._rng, now, self._weights)
        short = blake2b(key, digest_size=16).digest()
        order = sorted(endpoints, key=lambda endpoint: self._score(endpoint, short), reverse=True)
        in_flight = sum(endpoint.in_flight for endpoint in order) + 1
        whole = sum(weight_of(endpoint, self._weights) for endpoint in order)
        for endpoint in order:
            part = in_flight * weight_of(endpoint, self._weights) / whole
            if endpoint.in_flight < max(FEW, OVERLOAD * part):
                return endpoint
        return order[0]

    def _score(self, endpoint: E, key: bytes) -> float:
        digest = blake2b(endpoint.key.address.encode(), digest_size=8, key=key)
        place = (int.from_bytes(digest.digest()) + 0.5) / _SPAN  # between 0 and 1, neither of them
        return -weight_of(endpoint, self._weights) / log(place)
