"""How long the same endpoint is left alone before it is tried again.

In:      which retry it is, or what the service asked for.
Out:     seconds to wait, at random, so that requests that failed together do not come back together.
"""

from __future__ import annotations

from random import Random

# What refused a connection just now will do so a millisecond later too, so never less than SHORTEST. The first
# retry waits up to LONGEST, each further one up to twice as long, never over CAP: the app is waiting.
SHORTEST = 0.010
LONGEST = 0.050
CAP = 0.500

# A Retry-After is kept to, plus up to this share of it: many requests hear the same one.
JITTER = 0.1


def backoff(retry: int, rng: Random) -> float:
    """Before the `retry`-th retry, from 1: evenly spread over SHORTEST and a ceiling that doubles."""
    ceiling = min(LONGEST * 2.0 ** (retry - 1), CAP)
    return SHORTEST + (ceiling - SHORTEST) * rng.random()


def pushback(asked: float, limit: float, rng: Random) -> float:
    """When a service has asked to be left alone for a time that is within the limit."""
    return min(asked * (1.0 + JITTER * rng.random()), limit)
