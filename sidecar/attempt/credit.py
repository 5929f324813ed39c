"""What one request has taken of the budgets of its route: at most one retry and one hedge at a time.

In:      the retry budget, and the hedge budget where the route hedges (a budget of the same make).
Out:     whether one more may be had. `settle` gives everything back, for when the request is over.
Why:     most requests want neither, so a plan makes one only when it asks.
"""

from __future__ import annotations

from sidecar.attempt.budget import RetryBudget


class Credit:
    """Of one request."""

    __slots__ = ("_has_hedge", "_has_retry", "_hedges", "_retries", "hedged")

    def __init__(self, retries: RetryBudget, hedges: RetryBudget | None) -> None:
        self._retries = retries
        self._hedges = hedges
        self._has_retry = False
        self._has_hedge = False
        self.hedged = hedges is None  # nothing is left to hedge: once a request

    def spend_retry(self) -> bool:
        """Takes a retry of the budget; that of a retry which failed passes on to the next."""
        if not self._has_retry:
            self._has_retry = self._retries.try_spend()
        return self._has_retry

    def return_retry(self) -> None:
        if self._has_retry:
            self._has_retry = False
            self._retries.give_back()

    def spend_hedge(self) -> bool:
        assert self._hedges is not None
        self.hedged = self._has_hedge = self._hedges.try_spend()
        return self._has_hedge

    def return_hedge(self) -> None:
        if self._has_hedge:
            assert self._hedges is not None
            self._has_hedge = False
            self._hedges.give_back()

    def settle(self) -> None:
        """No attempt of it is on probation any more."""
        self.return_retry()
        self.return_hedge()
