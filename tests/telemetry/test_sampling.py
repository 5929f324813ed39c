"""Which requests leave a trace."""

from __future__ import annotations

import pytest

from sidecar.failure import Failure, FailureKind
from sidecar.record import RequestRecord
from sidecar.telemetry.sampling import SLOW, is_kept
from tests.telemetry.records import attempt, request, rescued


@pytest.mark.parametrize("sampled", [None, True, False])
def test_a_request_with_a_failed_attempt_is_always_kept(sampled: bool | None) -> None:
    """It is what somebody will look for, whatever the app thought at its start."""
    record = rescued()
    record.sampled = sampled
    assert is_kept(record, 0.0)


def test_a_request_that_failed_without_an_attempt_is_kept() -> None:
    """Refused while draining, say."""
    record = request(failure=Failure(FailureKind.DRAINING))
    record.attempts = []
    assert is_kept(record, 0.0)


def _late() -> RequestRecord:
    made = attempt()
    made.late = True
    return request(made)


@pytest.mark.parametrize("record", [_late(), request(attempt(first_packet=SLOW + 1, end=SLOW + 2))])
def test_a_slow_request_is_kept(record: RequestRecord) -> None:
    """Lateness is how overload begins."""
    assert is_kept(record, 0.0)


def test_a_long_answer_that_began_in_time_is_not_slow() -> None:
    """Long answers are normal."""
    assert not is_kept(request(attempt(end=300.0)), 0.0)


def test_a_plain_success_follows_the_app_and_else_the_ratio() -> None:
    """One decision a trace."""
    record = request(trace_id=(1 << 64) | (1 << 62))
    assert not is_kept(record, 0.25)
    assert is_kept(record, 0.26)
    record.sampled = True
    assert is_kept(record, 0.0)
    record.sampled = False
    assert not is_kept(record, 1.0)


def test_a_dropped_attempt_is_no_failed_one() -> None:
    """It says nothing about its endpoint, so the ratio decides."""
    dropped = attempt()
    dropped.dropped = True
    assert not is_kept(request(dropped), 0.0)
    assert is_kept(request(dropped), 1.0)
