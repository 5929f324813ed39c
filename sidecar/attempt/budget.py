"""Retry budget: keeps retries inside a service from becoming a storm of their own.

In:      requests that begin and end, retries that are wanted and given back.
Out:     whether one more retry may be in flight; how often the answer was no.
Rule:    retries in flight stay under max(min_retry_concurrency, budget_percent of the active requests).
         A percentage alone would forbid the only retry of a quiet pod; a fixed number alone would let a
         busy one double its load. Fallbacks to another service do not spend: a surge is rescued whole.
Limits:  one budget a route and policy generation; a request gives back to the budget it began with.
Errors:  giving back what was not taken is a bug and asserts.
Source:  Envoy's retry budget (its words and formula).
"""

from __future__ import annotations

from sidecar.policy import snapshot


class RetryBudget:
    """Counts of one route."""

    __slots__ = ("_least", "_share", "active", "refused", "retries")

    def __init__(self, policy: snapshot.RetryBudget) -> None:
        self._least = policy.min_retry_concurrency
        self._share = policy.budget_percent / 100.0
        self.active = 0
        self.retries = 0
        self.refused = 0

    def begin(self) -> None:
        self.active += 1

    def end(self) -> None:
        assert self.active > 0, "more requests ended than began"
        self.active -= 1

    def try_spend(self) -> bool:
        """Takes one retry if there is room for it."""
        if self.retries >= max(self._least, self._share * self.active):
            self.refused += 1
            return False
        self.retries += 1
        return True

    def give_back(self) -> None:
        assert self.retries > 0, "more retries given back than taken"
        self.retries -= 1
