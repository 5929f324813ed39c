"""Which requests leave a trace."""

from __future__ import annotations

import pytest

from sidecar.failure import Failure, FailureKind
from sidecar.record import RequestRecord
from sidecar.telemetry.sampler import Sampler, sampler
from sidecar.telemetry.sampling import SLOW, is_kept
from sidecar.wire import traceparent
from tests.telemetry.records import attempt, request, rescued


def test_a_request_with_a_failed_attempt_is_always_kept() -> None:
    """It is what somebody will look for, whatever the app thought at its start."""
    record = rescued()
    assert not record.sampled
    assert is_kept(record)


def test_a_request_that_failed_without_an_attempt_is_kept() -> None:
    """Refused while draining, say."""
    record = request(failure=Failure(FailureKind.DRAINING))
    record.attempts = []
    assert is_kept(record)


def _late() -> RequestRecord:
    made = attempt()
    made.late = True
    return request(made)


@pytest.mark.parametrize("record", [_late(), request(attempt(first_packet=SLOW + 1, end=SLOW + 2))])
def test_a_slow_request_is_kept(record: RequestRecord) -> None:
    """Lateness is how overload begins."""
    assert is_kept(record)


def test_a_long_answer_that_began_in_time_is_not_slow() -> None:
    """Long answers are normal."""
    assert not is_kept(request(attempt(end=300.0)))


@pytest.mark.parametrize("sampled", [True, False])
def test_a_plain_success_is_kept_if_its_trace_is_sampled(sampled: bool) -> None:
    """One decision a trace."""
    record = request()
    record.sampled = sampled
    assert is_kept(record) is sampled


def test_a_dropped_attempt_is_no_failed_one() -> None:
    """It says nothing about its endpoint, so the sampler decides."""
    dropped = attempt()
    dropped.dropped = True
    assert not is_kept(request(dropped))


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, Sampler(0.01)),
        ({"OTEL_TRACES_SAMPLER": " "}, Sampler(0.01)),
        ({"OTEL_TRACES_SAMPLER_ARG": "0.5"}, Sampler(0.01)),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, Sampler(1.0, asks_app=False)),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, Sampler(0.0, asks_app=False)),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"},
            Sampler(0.25, asks_app=False),
        ),
        ({"OTEL_TRACES_SAMPLER": "traceidratio"}, Sampler(1.0, asks_app=False)),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, Sampler(1.0)),
        ({"OTEL_TRACES_SAMPLER": "ParentBased_Always_Off"}, Sampler(0.0)),
        (
            {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": " 0.25 "},
            Sampler(0.25),
        ),
    ],
)
def test_the_environment_says_what_becomes_of_plain_successes(
    environ: dict[str, str], expected: Sampler
) -> None:
    """By the names that every OpenTelemetry SDK knows; without one the schema's default stands."""
    assert sampler(0.01, environ, written=False) == expected


@pytest.mark.parametrize("name", ["always_off", "parentbased_always_on", "nonsense"])
def test_a_written_ratio_goes_before_the_environment(name: str) -> None:
    """As the written endpoint does: who reads the file knows what runs."""
    assert sampler(0.3, {"OTEL_TRACES_SAMPLER": name}, written=True) == Sampler(0.3)


@pytest.mark.parametrize("name", ["jaeger_remote", "parentbased_", "parentbased_parentbased_always_on"])
def test_a_sampler_that_is_not_known_is_told_and_ignored(name: str) -> None:
    """The specification wants both."""
    found = sampler(0.01, {"OTEL_TRACES_SAMPLER": name}, written=False)
    assert (found.ratio, found.asks_app) == (0.01, True)
    assert found.ignored.startswith(f"OTEL_TRACES_SAMPLER is {name}; expected one of always_on, ")


@pytest.mark.parametrize("text", ["1.1", "-0.1", "nan", "half", "inf"])
def test_an_argument_that_is_no_ratio_is_told_and_ignored(text: str) -> None:
    """As if it were not set: all of them."""
    environ = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": text}
    found = sampler(0.01, environ, written=False)
    assert (found.ratio, found.asks_app) == (1.0, False)
    assert found.ignored == f"OTEL_TRACES_SAMPLER_ARG is {text}; expected a number from 0 to 1"


def test_no_sampler_drops_a_request_with_a_failed_attempt() -> None:
    """`always_off` is about plain successes; whoever wants no traces at all says OTEL_TRACES_EXPORTER=none."""
    off = sampler(0.01, {"OTEL_TRACES_SAMPLER": "always_off"}, written=False)
    bound = traceparent.sampling_bound(off.ratio)
    for record, kept in ((rescued(), True), (request(), False)):
        record.sampled = traceparent.is_sampled(record.trace, None, bound)
        assert is_kept(record) is kept
