"""A service with nobody to pick: passed over, waited for, or the end."""

from __future__ import annotations

from math import inf

import pytest

from sidecar.attempt.skips import is_due, may_pass_over, nobody
from sidecar.choice import Skipped
from sidecar.failure import FailureKind


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("unhealthy", {"unhealthy"}),
        ("overloaded", {"overloaded"}),
        ("no_endpoint", {"unhealthy", "connect_failure"}),
        ("cooling", {"unhealthy", "overloaded"}),
        ("rate_limited", {"unhealthy", "overloaded"}),
    ],
)
def test_a_service_is_passed_over_where_fallback_on_has_a_word_for_it(reason: str, words: set[str]) -> None:
    """An operator who wants no fallback from an ejected service leaves the word out."""
    skipped = Skipped(reason, inf)
    for word in ("unhealthy", "overloaded", "connect_failure", "5xx"):
        assert may_pass_over(skipped, frozenset((word,))) is (word in words)


def test_only_an_unhealthy_service_is_ever_due() -> None:
    """A full one has no moment of return; an empty one has nobody to return."""
    assert is_due(Skipped("unhealthy", 1.0), 1.0)
    assert not is_due(Skipped("unhealthy", 1.5), 1.0)
    assert not is_due(Skipped("overloaded", 1.0), 1.0)
    assert not is_due(Skipped("no_endpoint", inf), 1.0)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("unhealthy", FailureKind.UNHEALTHY),
        ("overloaded", FailureKind.OVERLOADED),
        ("no_endpoint", FailureKind.CONNECT_FAILURE),
        ("cooling", FailureKind.OVERLOADED),
        ("rate_limited", FailureKind.RATE_LIMITED),
    ],
)
def test_the_app_is_told_why_there_is_nobody(reason: str, kind: FailureKind) -> None:
    """Busy and broken are not the same to whoever reads the error."""
    assert nobody([Skipped(reason, inf)], 0.0).kind is kind


def test_where_all_want_to_be_left_alone_the_app_is_told_when_the_first_is_back() -> None:
    """It would be refused until then."""
    told = nobody([Skipped("cooling", 9.0), Skipped("rate_limited", 5.0)], 2.0)
    assert (told.kind, told.retry_after) == (FailureKind.OVERLOADED, 3.0)
    told = nobody([Skipped("rate_limited", 9.0), Skipped("rate_limited", 5.0)], 2.0)
    assert (told.kind, told.retry_after) == (FailureKind.RATE_LIMITED, 3.0)


def test_who_names_no_time_is_given_none() -> None:
    """No header can say `for ever`."""
    told = nobody([Skipped("cooling", inf)], 2.0)
    assert (told.kind, told.retry_after) == (FailureKind.OVERLOADED, None)


def test_where_one_of_them_is_merely_out_nobody_promises_anything() -> None:
    """An ejection says nothing about when a request would succeed."""
    told = nobody([Skipped("unhealthy", 9.0), Skipped("cooling", 5.0)], 2.0)
    assert (told.kind, told.retry_after) == (FailureKind.UNHEALTHY, None)
