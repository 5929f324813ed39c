"""What it means for a request that nobody of a service may be picked.

In:      a Skipped of the chooser.
Out:     whether the service may be passed over, whether it is about to return, what the app is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from sidecar.choice import Skipped
from sidecar.failure import Failure, FailureKind

# Any of these words lets a service be passed over that has nobody to pick.
_WORDS = {
    "cooling": frozenset(("429", "overloaded", "unhealthy")),
    "rate_limited": frozenset(("429", "overloaded", "unhealthy")),
    "unhealthy": frozenset(("unhealthy",)),
    "overloaded": frozenset(("overloaded",)),
    "no_endpoint": frozenset(("unhealthy", "connect_failure")),
}
# What the app is told when nobody could be picked at all.
_KINDS = {
    "cooling": FailureKind.OVERLOADED,
    "rate_limited": FailureKind.RATE_LIMITED,
    "unhealthy": FailureKind.UNHEALTHY,
    "overloaded": FailureKind.OVERLOADED,
    "no_endpoint": FailureKind.CONNECT_FAILURE,
}


def may_pass_over(skipped: Skipped, fallback_on: frozenset[str]) -> bool:
    return not fallback_on.isdisjoint(_WORDS[skipped.reason])


def is_due(skipped: Skipped, now: float) -> bool:
    """Whether its return is only thinned out, or a tick away."""
    return skipped.reason in ("unhealthy", "cooling") and skipped.due_back <= now


def nobody(skipped: Sequence[Skipped], now: float) -> Failure:
    """Why none of the services could be asked. If all of them want to be left alone: until when the first one does."""
    reasons = {one.reason for one in skipped}
    first = skipped[0].reason
    if not reasons <= {"cooling", "rate_limited"}:
        return Failure(_KINDS[first], detail=f"nobody to pick: {first}")
    reason = first if len(reasons) == 1 else "cooling"
    soonest = min(one.due_back for one in skipped)
    wait = max(0.0, soonest - now) if isfinite(soonest) else None
    return Failure(_KINDS[reason], retry_after=wait, detail=f"nobody to pick: {reason}")
