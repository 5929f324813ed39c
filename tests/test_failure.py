"""Every failure kind takes a stand: who is to blame, what may be tried next, what the app sees."""

from __future__ import annotations

import pytest

from sidecar.failure import (
    Failure,
    FailureKind,
    Verdict,
    blames_endpoint,
    face,
    fallback_words,
    may_retry_same,
    verdict,
)


@pytest.mark.parametrize("kind", FailureKind)
def test_every_kind_has_a_face_the_app_can_understand(kind: FailureKind) -> None:
    status = face(kind).status
    assert status is None or 400 <= status < 600


@pytest.mark.parametrize("kind", FailureKind)
def test_what_may_be_retried_in_the_same_service_may_also_fall_back(kind: FailureKind) -> None:
    assert not face(kind).may_retry_same or face(kind).fallback_word is not None


@pytest.mark.parametrize(
    ("status", "blamed"), [(500, True), (503, True), (529, True), (429, True), (404, False)]
)
def test_of_statuses_only_5xx_and_429_are_the_service_s_fault(status: int, blamed: bool) -> None:
    assert blames_endpoint(Failure(FailureKind.STATUS, status)) is blamed


def test_a_status_falls_back_by_its_number_and_a_5xx_by_its_class_too() -> None:
    assert fallback_words(Failure(FailureKind.STATUS, 503)) == ("503", "5xx")
    assert fallback_words(Failure(FailureKind.STATUS, 429)) == ("429",)
    assert fallback_words(Failure(FailureKind.STATUS, 404)) == ("404",)
    assert fallback_words(Failure(FailureKind.AUTH, 401)) == ("401", "auth")
    assert fallback_words(Failure(FailureKind.DEADLINE_EXCEEDED)) == ()


def test_a_late_or_silent_endpoint_is_not_retried_and_a_service_that_names_a_time_neither() -> None:
    assert not may_retry_same(Failure(FailureKind.FIRST_PACKET_TIMEOUT))
    assert may_retry_same(Failure(FailureKind.STATUS, 503))
    assert not may_retry_same(Failure(FailureKind.STATUS, 503, retry_after=3.0))
    assert not may_retry_same(Failure(FailureKind.STATUS, 429))


@pytest.mark.parametrize(
    ("failure", "late", "dropped", "said"),
    [
        (None, False, False, Verdict.SUCCESS),
        (None, True, False, Verdict.FAILURE),
        (None, False, True, Verdict.IGNORABLE),
        (Failure(FailureKind.RESET), False, False, Verdict.FAILURE),
        (Failure(FailureKind.STATUS, 404), False, False, Verdict.SUCCESS),
        (Failure(FailureKind.STATUS, 429), False, False, Verdict.FAILURE),
        (Failure(FailureKind.STATUS, 429, retry_after=2.0), False, False, Verdict.IGNORABLE),
        (Failure(FailureKind.STATUS, 503, retry_after=2.0), False, False, Verdict.FAILURE),
        (Failure(FailureKind.DEADLINE_EXCEEDED), False, False, Verdict.IGNORABLE),
        (Failure(FailureKind.DEADLINE_EXCEEDED), True, False, Verdict.FAILURE),
    ],
)
def test_a_finished_attempt_gives_one_verdict(
    failure: Failure | None, late: bool, dropped: bool, said: Verdict
) -> None:
    assert verdict(failure, late=late, dropped=dropped) is said


@pytest.mark.parametrize(
    ("failure", "late", "said"),
    [
        (Failure(FailureKind.FIRST_PACKET_TIMEOUT), True, Verdict.IGNORABLE),
        (None, True, Verdict.SUCCESS),
        (Failure(FailureKind.RESET), True, Verdict.FAILURE),
        (Failure(FailureKind.RESPONSE_TIMEOUT), False, Verdict.FAILURE),
    ],
)
def test_where_lateness_is_for_the_limit_it_is_no_failure(
    failure: Failure | None, late: bool, said: Verdict
) -> None:
    assert verdict(failure, late=late, dropped=False, lateness_counts=False) is said
