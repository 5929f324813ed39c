"""Which service a request may go to next: a walk over the ranks, none of them twice.

In:      a chooser, the rank to start at, the route's fallback_on; `now` in monotonic seconds.
Out:     a rank with the endpoint to ask, or with the reason why the service has nobody but may not be passed over
         (or is better than nothing); None: there is no such service.
"""

from __future__ import annotations

from typing import Final, Generic, NamedTuple

from sidecar.attempt.skips import is_due, may_pass_over
from sidecar.choice import Chooser, E, Skipped
from sidecar.terms import EndpointKey

NOBODY: Final[frozenset[EndpointKey]] = frozenset()

Place = tuple[int, E | Skipped]


class First(NamedTuple, Generic[E]):
    """Where a request stood with its first attempt when a second one began: see the fields of Plan."""

    number: int
    endpoint: E
    rank: int
    tried: frozenset[EndpointKey]
    retries: int
    pushback: bool


def next_place(
    chooser: Chooser[E],
    start: int,
    fallback_on: frozenset[str],
    now: float,
    avoid: frozenset[EndpointKey] = NOBODY,
) -> Place[E] | None:
    """The first service with an endpoint to pick, with room in its waiting line, or that may not be passed over."""
    for rank in range(start, chooser.count):
        picked = chooser.pick(rank, avoid, now)
        if not isinstance(picked, Skipped) or not may_pass_over(picked, fallback_on):
            return rank, picked
        if picked.reason == "overloaded" and chooser.may_wait(rank) is not None:
            return rank, picked
    return None


def returning_place(
    chooser: Chooser[E], start: int, now: float, avoid: frozenset[EndpointKey]
) -> tuple[int, Skipped] | None:
    """The first service passed over only because its return is thinned out, or by its adaptive limit."""
    for rank in range(start, chooser.count):
        picked = chooser.pick(rank, avoid, now)
        if not isinstance(picked, Skipped):
            continue
        # An adaptive limit gives way, max_concurrency does not.
        if is_due(picked, now) or (
            picked.reason == "overloaded" and chooser.due_first(rank, avoid, now) is not None
        ):
            return rank, picked
    return None
