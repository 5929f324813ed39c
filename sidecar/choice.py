"""What a plan asks of those who choose an endpoint for it, and what it is told where there is none.

Why:     classes, and no Protocol or tuple: the compiled form calls the one and knows the other without looking
         anything up. They are not sidecar.attempt's, for sidecar.route, which chooses, knows nothing of plans.
Units:   monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Generic, Protocol, TypeVar

from sidecar.terms import EndpointKey


class Keyed(Protocol):
    """All that a plan knows of an endpoint: its name."""

    @property
    def key(self) -> EndpointKey: ...


E = TypeVar("E", bound=Keyed)


class Skipped:
    """Why nobody of a service may be picked now, and when the first of its endpoints is due back.

    reason    unhealthy, overloaded, no_endpoint; cooling, rate_limited: it wants to be left alone
    due_back  now: any moment; inf: nobody can say
    """

    __slots__ = ("due_back", "reason")

    def __init__(self, reason: str, due_back: float) -> None:
        self.reason = reason
        self.due_back = due_back

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Skipped) and self.reason == other.reason and self.due_back == other.due_back

    def __hash__(self) -> int:
        return hash((self.reason, self.due_back))

    def __repr__(self) -> str:
        return f"Skipped({self.reason!r}, {self.due_back!r})"


class Chooser(Generic[E]):
    """The services of a route by rank, 0 first, and who of them may be picked."""

    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.count = count

    def service_name(self, rank: int) -> str:
        raise NotImplementedError

    def pick(self, rank: int, avoid: Collection[EndpointKey], now: float) -> E | Skipped:
        """An endpoint in rotation, not among those to avoid."""
        raise NotImplementedError

    def pick_in_turn(self, rank: int, avoid: Collection[EndpointKey], now: float) -> E | Skipped:
        """The same for a request that stood in the waiting line, when it is its turn."""
        raise NotImplementedError

    def may_wait(self, rank: int) -> float | None:
        """How long a request may stand in the service's waiting line; None: there is none, or it is full."""
        raise NotImplementedError

    def has_other_keys(self, rank: int) -> bool:
        """Whether the service may be asked with another key than the one that was just refused."""
        raise NotImplementedError

    def usable(self, rank: int, now: float) -> bool:
        """Whether pick would find one."""
        raise NotImplementedError

    def due_first(self, rank: int, avoid: Collection[EndpointKey], now: float) -> E | None:
        """The endpoint of a service that is due back first, in rotation or not."""
        raise NotImplementedError

    def last_resort(self, now: float) -> tuple[int, E] | None:
        """The same over all services, with its rank."""
        raise NotImplementedError
