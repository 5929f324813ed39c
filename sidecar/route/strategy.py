"""Which way of picking a service has.

In:      a service of the policy.
Out:     a Strategy, which keeps what it needs between two picks.
"""

from __future__ import annotations

from random import Random

from sidecar.policy.snapshot import Service
from sidecar.route.hashing import ConsistentHash
from sidecar.route.latency import PeakEwma
from sidecar.route.pick import E, LeastRequest, RoundRobin

Strategy = LeastRequest[E] | RoundRobin[E] | PeakEwma[E] | ConsistentHash[E]


def strategy_of(service: Service, rng: Random) -> Strategy[E]:
    match service.load_balancing:
        case "round_robin":
            return RoundRobin(service.weights)
        case "peak_ewma":
            return PeakEwma(service.weights, rng)
        case "consistent_hash":
            return ConsistentHash(service.hash_on, service.weights, rng)
        case _:
            return LeastRequest(service.weights, rng)
