"""The vocabulary of a plan: the commands it gives.

Out:     Try, Wait, Queue, Drop, Answer: exactly one at a time, carried out by the exchange.
Units:   every moment is monotonic seconds (float).
Why:     a Try is made for every request, so it is a class of its own, which is compiled; the others are tuples.
"""

from __future__ import annotations

from typing import Generic, NamedTuple

from sidecar.choice import E
from sidecar.failure import Failure


class Try(Generic[E]):
    """Send the request to this endpoint.

    `reason` is why it is not the first choice: the code of the failure before it, or why the first service
    was skipped. `fallback_from` is the service that was left for this one; None: the first, or a retry.
    At `deadline`, if the attempt has not committed, the plan hears Failure(DEADLINE_EXCEEDED).
    """

    __slots__ = ("deadline", "endpoint", "fallback_from", "number", "rank", "reason")

    def __init__(
        self,
        number: int,
        rank: int,
        endpoint: E,
        reason: str | None,
        fallback_from: str | None,
        deadline: float | None,
    ) -> None:
        self.number = number  # from 1
        self.rank = rank  # of the service in its route
        self.endpoint = endpoint
        self.reason = reason
        self.fallback_from = fallback_from
        self.deadline = deadline


class Wait(NamedTuple):
    """Send nothing until then, then tell the plan that it woke."""

    until: float


class Queue(NamedTuple):
    """Stand in the waiting line of the service of this rank: woke(in_turn) for a place, waited_enough at `until`."""

    rank: int
    until: float


class Drop(NamedTuple):
    """The attempt that the turning point was about is given up; the other one goes on alone."""


class Answer(NamedTuple):
    """Nothing is left to try: tell the app."""

    failure: Failure
