"""A service with nobody to pick: passed over, waited for, or the end."""

from __future__ import annotations

from math import inf

import pytest

from sidecar.attempt.skips import is_due, may_pass_over, nobody
from sidecar.failure import FailureKind
from sidecar.terms import Skipped


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("unhealthy", {"unhealthy"}),
        ("overloaded", {"overloaded"}),
        ("no_endpoint", {"unhealthy", "connect_failure"}),
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
    ],
)
def test_the_app_is_told_why_there_is_nobody(reason: str, kind: FailureKind) -> None:
    """Busy and broken are not the same to whoever reads the error."""
    assert nobody(Skipped(reason, inf)).kind is kind
