"""How a wish to change the policy may end; expected refusals are values, not exceptions.

Out:     Accepted, or the reason why what ran goes on running.
"""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.admin.revisions import Revision
from sidecar.policy.problems import Problem


@dataclass(frozen=True, slots=True)
class Accepted:
    """The revision that runs now; for a dry run the one that would."""

    revision: Revision
    warnings: tuple[Problem, ...] = ()
    reverts_at: int | None = None  # Unix nanoseconds


@dataclass(frozen=True, slots=True)
class Invalid:
    """Everything that is wrong with it."""

    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Stale:
    """Somebody came between: the running policy has another etag."""

    given: str
    running: str


@dataclass(frozen=True, slots=True)
class NotStored:
    """The state folder would not take it, so it was not accepted."""

    why: str


@dataclass(frozen=True, slots=True)
class UnknownGeneration:
    """No revision of that number is held."""

    given: int
    held: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NothingPending:
    """No update waits for a confirmation."""


Refused = Invalid | Stale | NotStored | UnknownGeneration | NothingPending
Outcome = Accepted | Refused
