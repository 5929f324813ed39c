"""The retry budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.attempt.budget import RetryBudget
from sidecar.policy import snapshot


def a_budget(percent: float = 20.0, least: int = 3, *, active: int = 0) -> RetryBudget:
    budget = RetryBudget(snapshot.RetryBudget(percent, least))
    for _ in range(active):
        budget.begin()
    return budget


def spent_at_once(budget: RetryBudget) -> int:
    count = 0
    while budget.try_spend():
        count += 1
    return count


@pytest.mark.parametrize(("active", "room"), [(1, 3), (15, 3), (16, 4), (20, 4), (100, 20)])
def test_retries_in_flight_are_a_share_of_the_active_requests_and_at_least_three(
    active: int, room: int
) -> None:
    """A quiet pod may retry its only request; a busy one cannot double its load."""
    assert spent_at_once(a_budget(active=active)) == room


def test_a_budget_of_nothing_forbids_every_retry() -> None:
    """Both figures at zero switch retries off."""
    assert not a_budget(0.0, 0, active=100).try_spend()


def test_what_is_given_back_can_be_spent_again() -> None:
    """It counts what is in flight, not what ever was."""
    budget = a_budget(active=1)
    spent_at_once(budget)
    budget.give_back()
    assert spent_at_once(budget) == 1


def test_room_shrinks_with_the_requests_that_end() -> None:
    """Retries that are out already are not taken back."""
    budget = a_budget(active=100)
    spent_at_once(budget)
    for _ in range(90):
        budget.end()
    assert budget.retries == 20
    assert not budget.try_spend()


def test_refusals_are_counted() -> None:
    """A budget that is spent all the time is too small, or the service is down: either way somebody should know."""
    budget = a_budget(0.0, 1)
    assert [budget.try_spend() for _ in range(3)] == [True, False, False]
    assert budget.refused == 2


def test_giving_back_what_was_not_taken_is_a_bug() -> None:
    """A count below zero would let retries through for ever."""
    with pytest.raises(AssertionError):
        a_budget().give_back()
    with pytest.raises(AssertionError):
        a_budget().end()


@given(st.lists(st.sampled_from(["begin", "end", "spend", "give_back"]), max_size=60), st.integers(0, 5))
def test_a_retry_is_granted_only_under_the_limit(moves: list[str], least: int) -> None:
    """By Envoy's formula, at the moment of asking."""
    budget = a_budget(20.0, least)
    for move in moves:
        match move:
            case "begin":
                budget.begin()
            case "end" if budget.active:
                budget.end()
            case "spend":
                before = budget.retries
                assert budget.try_spend() == (before < max(least, 0.2 * budget.active))
            case "give_back" if budget.retries:
                budget.give_back()
