"""What it means for a request that nobody of a service may be picked.

In:      a Skipped of the chooser.
Out:     whether the service may be passed over, whether it is about to return, what the app is told.
"""

from __future__ import annotations

from sidecar.failure import Failure, FailureKind
from sidecar.terms import Skipped

# Any of these words lets a service be passed over that has nobody to pick.
_WORDS = {
    "unhealthy": frozenset(("unhealthy",)),
    "overloaded": frozenset(("overloaded",)),
    "no_endpoint": frozenset(("unhealthy", "connect_failure")),
}
# What the app is told when nobody could be picked at all.
_KINDS = {
    "unhealthy": FailureKind.UNHEALTHY,
    "overloaded": FailureKind.OVERLOADED,
    "no_endpoint": FailureKind.CONNECT_FAILURE,
}


def may_pass_over(skipped: Skipped, fallback_on: frozenset[str]) -> bool:
    return not fallback_on.isdisjoint(_WORDS[skipped.reason])


def is_due(skipped: Skipped, now: float) -> bool:
    """Whether its return is only thinned out, or a tick away."""
    return skipped.reason == "unhealthy" and skipped.due_back <= now


def nobody(skipped: Skipped) -> Failure:
    return Failure(_KINDS[skipped.reason], detail=f"nobody to pick: {skipped.reason}")
