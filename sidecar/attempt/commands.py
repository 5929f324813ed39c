"""The vocabulary of a plan: the commands it gives, and what it has to ask.

Out:     Try, Wait, Queue, Drop, Answer: exactly one at a time, carried out by the exchange.
Units:   every moment is monotonic seconds (float).
Why:     a Try is made for every request, so it is a class of its own, which is compiled; the others are tuples.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Generic, NamedTuple, Protocol, TypeVar

from sidecar.failure import Failure
from sidecar.terms import EndpointKey, Skipped


class Keyed(Protocol):
    """All that a plan knows of an endpoint: its name."""

    @property
    def key(self) -> EndpointKey: ...


E = TypeVar("E", bound=Keyed)
E_co = TypeVar("E_co", bound=Keyed, covariant=True)


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


class Chooser(Protocol[E_co]):
    """The services of a route by rank, 0 first, and who of them may be picked. Implemented by sidecar.route."""

    @property
    def count(self) -> int: ...

    def service_name(self, rank: int) -> str: ...

    def pick(self, rank: int, avoid: Collection[EndpointKey], now: float) -> E_co | Skipped:
        """An endpoint in rotation, not among those to avoid."""

    def pick_in_turn(self, rank: int, avoid: Collection[EndpointKey], now: float) -> E_co | Skipped:
        """The same for a request that stood in the waiting line, when it is its turn."""

    def may_wait(self, rank: int) -> float | None:
        """How long a request may stand in the service's waiting line; None: there is none, or it is full."""

    def has_other_keys(self, rank: int) -> bool:
        """Whether the service may be asked with another key than the one that was just refused."""

    def usable(self, rank: int, now: float) -> bool:
        """Whether pick would find one."""

    def due_first(self, rank: int, avoid: Collection[EndpointKey], now: float) -> E_co | None:
        """The endpoint of a service that is due back first, in rotation or not."""

    def last_resort(self, now: float) -> tuple[int, E_co] | None:
        """The same over all services, with its rank."""
