"""How a wish to change the policy may end; expected refusals are values, not exceptions.

Out:     Accepted, or the reason why what ran goes on running.
"""

from __future__ import annotations

from sidecar.admin.revisions import Revision
from sidecar.frozen import Frozen
from sidecar.policy.problems import Problem


class Accepted(Frozen):
    """The revision that runs now; for a dry run the one that would."""

    revision: Revision
    warnings: tuple[Problem, ...] = ()
    reverts_at: int | None = None  # Unix nanoseconds


class Invalid(Frozen):
    """Everything that is wrong with it."""

    problems: tuple[Problem, ...]


class Stale(Frozen):
    """Somebody came between: the running policy has another etag."""

    given: str
    running: str


class NotStored(Frozen):
    """The state folder would not take it, so it was not accepted."""

    why: str


class UnknownGeneration(Frozen):
    """No revision of that number is held."""

    given: int
    held: tuple[int, ...]


class NothingPending(Frozen):
    """No update waits for a confirmation."""


Refused = Invalid | Stale | NotStored | UnknownGeneration | NothingPending
Outcome = Accepted | Refused
