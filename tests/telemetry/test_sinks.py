"""Who is told of which requests."""

from __future__ import annotations

import pytest

from sidecar.record import RequestRecord
from sidecar.telemetry.sinks import Sinks, Told, ToldOfFallbacks, ToldOfKept
from tests.telemetry.records import LATE, attempt, request, rescued

PLAIN, RESCUED, FAILED = request(), rescued(), request(attempt(failure=LATE), failure=LATE)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (Told, [PLAIN, RESCUED, FAILED]),
        (ToldOfFallbacks, [RESCUED]),
        (ToldOfKept, [RESCUED, FAILED]),
    ],
)
def test_a_function_is_told_of_what_it_wants_to_know(kind: type[Told], wanted: list[RequestRecord]) -> None:
    """Those that are not compiled are asked as rarely as they can be."""
    told: list[RequestRecord] = []
    sinks = Sinks([kind(told.append)])
    for record in (PLAIN, RESCUED, FAILED):
        sinks.request_finished(record)
    assert told == wanted


def test_a_sink_that_fails_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the sinks behind it nor the request."""

    def broken(record: RequestRecord) -> None:
        raise ZeroDivisionError

    told: list[RequestRecord] = []
    sinks = Sinks([Told(broken)])
    sinks.add(Told(told.append))
    sinks.request_finished(PLAIN)
    assert told == [PLAIN]
    assert "a sink failed on the record of request 0000000000000077" in caplog.text
