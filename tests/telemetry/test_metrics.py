"""What is counted, and that labels stay bounded."""

from __future__ import annotations

import pytest

from sidecar.failure import Failure, FailureKind
from sidecar.health.events import Ejected, EndpointRemoved
from sidecar.telemetry.metrics import OTHER, Exemplar, Metrics
from sidecar.terms import EndpointKey
from tests.telemetry.records import LATE, WALL, attempt, request, rescued


def test_a_rescued_request_counts_once_and_its_attempts_twice() -> None:
    """Requests are what the app saw, attempts what it cost."""
    metrics = Metrics()
    metrics.request_finished(rescued())
    assert metrics.requests.counts() == {("/v1#0", "backup", "200"): 1}
    assert metrics.attempts.counts() == {
        ("primary", "10.0.0.1:8000", "first_packet_timeout"): 1,
        ("backup", "10.0.0.2:443", "success"): 1,
    }
    assert metrics.fallbacks.counts() == {("primary", "backup", "first_packet_timeout"): 1}


def test_a_first_attempt_that_skipped_an_ejected_primary_is_a_fallback() -> None:
    """Else an outage would show no fallbacks as soon as the ejection holds."""
    metrics = Metrics()
    metrics.request_finished(request(attempt(1, "backup", fallback_from="primary", reason="unhealthy")))
    assert metrics.fallbacks.counts() == {("primary", "backup", "unhealthy"): 1}


def test_a_retry_in_the_same_service_is_no_fallback() -> None:
    """The reason of a retry is told by the attempts' outcomes."""
    metrics = Metrics()
    metrics.request_finished(request(attempt(1, failure=LATE), attempt(2, reason="reset")))
    assert metrics.fallbacks.counts() == {}


def test_a_failed_request_is_counted_by_its_failure_and_a_status_by_its_number() -> None:
    """`code` is a status or a failure's word."""
    metrics = Metrics()
    metrics.request_finished(request(attempt(failure=LATE), failure=LATE))
    metrics.request_finished(request(failure=Failure(FailureKind.STATUS, status=503)))
    assert metrics.requests.counts() == {
        ("/v1#0", "", "first_packet_timeout"): 1,
        ("/v1#0", "", "503"): 1,
    }


def test_times_fall_into_the_bucket_they_do_not_pass() -> None:
    """`le` includes its bound, and first packets count from the start of the attempt."""
    metrics = Metrics()
    metrics.request_finished(request(attempt(begin=0.5, first_packet=0.125, end=2.5)))
    first = metrics.first_packet["primary"]
    assert first.counts[first.bounds.index(0.15)] == 1
    assert first.sum == 0.125
    whole = metrics.request_time["/v1#0"]
    assert whole.counts[whole.bounds.index(2.5)] == 1


def test_a_cut_attempt_has_no_first_packet() -> None:
    """A time that never came must not pull the percentiles down."""
    metrics = Metrics()
    metrics.request_finished(request(attempt(failure=LATE), failure=LATE))
    assert metrics.first_packet == {}


def test_tokens_are_counted_under_the_model_that_was_sent() -> None:
    """The app's name for it may have been rewritten."""
    metrics = Metrics()
    record = rescued()
    record.attempts[-1].model = "qwen-plus"
    record.prompt_tokens, record.completion_tokens = 12, 30
    metrics.request_finished(record)
    assert metrics.tokens.counts() == {
        ("backup", "qwen-plus", "input"): 12,
        ("backup", "qwen-plus", "output"): 30,
    }


def test_model_names_are_bounded() -> None:
    """The app makes them up; the hundred-and-first is `other`."""
    metrics = Metrics(max_models=2)
    for name in ("a", "b", "c", "d", "a", "x" * 1000):
        record = request()
        record.model, record.prompt_tokens = name, 1
        metrics.request_finished(record)
    assert metrics.tokens.counts() == {
        ("primary", "a", "input"): 2,
        ("primary", "b", "input"): 1,
        ("primary", OTHER, "input"): 3,
    }


def test_label_sets_are_bounded_and_nothing_goes_uncounted() -> None:
    """A scrape must not grow with the life of the process."""
    metrics = Metrics(max_series=3)
    for number in range(10):
        record = request(attempt(service=f"s{number}", endpoint=f"10.0.0.{number}:80"))
        record.route = f"/r{number}#0"
        metrics.request_finished(record)
    assert len(metrics.attempts.counts()) == 4
    assert metrics.attempts.counts()[OTHER, OTHER, OTHER] == 7
    assert sum(metrics.requests.counts().values()) == 10
    assert len(metrics.first_packet) == 4
    assert sum(sum(h.counts) for h in metrics.first_packet.values()) == 10
    assert sum(sum(h.counts) for h in metrics.request_time.values()) == 10


def test_what_is_unlike_the_request_before_is_counted_for_itself() -> None:
    """Where the last one was counted is kept, by its service and by its endpoint: any label may change between two."""
    metrics = Metrics()
    for route, service, status, endpoint, model in (
        ("/v1#0", "a", 200, "10.0.0.1:80", "m"),
        ("/v1#1", "a", 200, "10.0.0.1:80", "m"),
        ("/v1#0", "b", 200, "10.0.0.1:80", "n"),
        ("/v1#0", "a", 201, "10.0.0.2:80", "n"),
        ("/v1#0", "a", 200, "10.0.0.1:80", "n"),
        ("/v1#0", "a", 200, "10.0.0.1:80", "n"),
    ):
        made = request(
            attempt(1, "a", endpoint="10.0.0.9:80", failure=LATE), attempt(2, service, endpoint=endpoint)
        )
        made.route, made.service, made.status, made.model, made.prompt_tokens = (
            route,
            service,
            status,
            model,
            2,
        )
        metrics.request_finished(made)
    assert metrics.requests.counts() == {
        ("/v1#0", "a", "200"): 3,
        ("/v1#1", "a", "200"): 1,
        ("/v1#0", "b", "200"): 1,
        ("/v1#0", "a", "201"): 1,
    }
    assert metrics.attempts.counts() == {
        ("a", "10.0.0.9:80", "first_packet_timeout"): 6,
        ("a", "10.0.0.1:80", "success"): 4,
        ("b", "10.0.0.1:80", "success"): 1,
        ("a", "10.0.0.2:80", "success"): 1,
    }
    assert metrics.tokens.counts() == {("a", "m", "input"): 4, ("b", "n", "input"): 2, ("a", "n", "input"): 6}
    assert {name: sum(h.counts) for name, h in metrics.request_time.items()} == {"/v1#0": 5, "/v1#1": 1}
    assert {name: sum(h.counts) for name, h in metrics.app_first_packet.items()} == {"/v1#0": 5, "/v1#1": 1}
    assert {name: sum(h.counts) for name, h in metrics.first_packet.items()} == {"a": 5, "b": 1}


def test_a_failure_is_not_taken_for_the_status_it_came_with() -> None:
    """A stream that broke behind its 200 is no success, whatever came before it."""
    metrics = Metrics()
    broken = request(failure=Failure(FailureKind.TRUNCATED_STREAM))
    broken.service, broken.status = "primary", 200
    for record in (request(), broken, request()):
        metrics.request_finished(record)
    assert metrics.requests.counts() == {
        ("/v1#0", "primary", "200"): 2,
        ("/v1#0", "primary", "truncated_stream"): 1,
    }


def test_an_endpoint_that_was_forgotten_begins_anew() -> None:
    """Its old counts are gone; and who was `other` for want of room has a place of its own."""
    metrics = Metrics(max_series=1)
    for endpoint in ("10.0.0.1:80", "10.0.0.2:80"):
        metrics.request_finished(request(attempt(endpoint=endpoint)))
    assert metrics.attempts.counts() == {
        ("primary", "10.0.0.1:80", "success"): 1,
        (OTHER, OTHER, OTHER): 1,
    }
    metrics.health_events([EndpointRemoved(EndpointKey("primary", "10.0.0.1:80"))])
    metrics.health_events([EndpointRemoved(EndpointKey(OTHER, OTHER))])
    metrics.request_finished(request(attempt(endpoint="10.0.0.2:80")))
    assert metrics.attempts.counts() == {("primary", "10.0.0.2:80", "success"): 1}


def _ejected(*, enforced: bool) -> Ejected:
    return Ejected(EndpointKey("primary", "10.0.0.1:8000"), "failure_percentage", 60.0, 10, 1, 30.0, enforced)


def test_only_enforced_ejections_count() -> None:
    """With `enforce: false` nothing left rotation."""
    metrics = Metrics()
    metrics.health_events([_ejected(enforced=True), _ejected(enforced=False)])
    assert metrics.ejections.counts() == {("primary", "10.0.0.1:8000", "failure_percentage"): 1}


def test_an_endpoint_that_left_is_forgotten() -> None:
    """Pod addresses change for ever; their series must not pile up."""
    metrics = Metrics()
    metrics.request_finished(rescued())
    metrics.health_events([_ejected(enforced=True)])
    metrics.health_events([EndpointRemoved(EndpointKey("primary", "10.0.0.1:8000"))])
    assert metrics.attempts.counts() == {("backup", "10.0.0.2:443", "success"): 1}
    assert metrics.ejections.counts() == {}


def test_what_the_app_waited_for_its_first_packet_includes_the_attempts_before() -> None:
    """The primary's 0.2 s were lost to the app as well, whichever service is to blame."""
    metrics = Metrics()
    metrics.request_finished(rescued())
    (waited,) = metrics.app_first_packet.values()
    assert waited.sum == pytest.approx(0.3)
    assert metrics.first_packet["backup"].sum == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (504, LATE),
        (503, Failure(FailureKind.STATUS, status=503)),
        (429, Failure(FailureKind.STATUS, status=429)),
        (503, Failure(FailureKind.OVERLOADED)),
        (503, Failure(FailureKind.UNHEALTHY)),
        (504, Failure(FailureKind.DEADLINE_EXCEEDED)),
        (401, Failure(FailureKind.AUTH, status=401)),
    ],
)
def test_a_request_that_no_service_could_answer_is_exhausted(status: int, failure: Failure) -> None:
    """Whether the app got the last service's error or ours: it is what the sidecar is there to prevent."""
    metrics = Metrics()
    record = request(attempt(failure=failure), failure=failure)
    record.status = status
    metrics.request_finished(record)
    assert metrics.exhausted.counts() == {("/v1#0",): 1}
    assert metrics.app_first_packet == {}


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (200, None),
        (200, Failure(FailureKind.TRUNCATED_STREAM)),
        (400, Failure(FailureKind.STATUS, status=400)),
        (400, Failure(FailureKind.CONTEXT_LENGTH, status=400)),
        (0, Failure(FailureKind.APP_WENT_AWAY)),
        (503, Failure(FailureKind.DRAINING)),
        (500, Failure(FailureKind.INTERNAL_ERROR)),
    ],
)
def test_what_another_service_could_not_have_saved_is_not_exhausted(
    status: int, failure: Failure | None
) -> None:
    """A cut after the commit, the app's own mistakes, its hanging up, our end: an alert must not wake anybody."""
    metrics = Metrics()
    record = request(attempt(failure=failure), failure=failure)
    record.status = status
    metrics.request_finished(record)
    assert metrics.exhausted.counts() == {}


def test_a_bucket_remembers_the_newest_trace_that_is_kept() -> None:
    """One a bucket, whatever the traffic; a trace that nobody stored would lead nowhere."""
    metrics = Metrics()
    metrics.traces = True
    for trace_id in (1, 2, 3):
        record = request(attempt(first_packet=0.1 + trace_id / 1000), trace_id=trace_id)
        record.sampled = trace_id != 3
        metrics.request_finished(record)
    first = metrics.first_packet["primary"]
    ((place, shown),) = first.exemplars.items()
    assert place == first.bounds.index(0.15)
    assert shown == pytest.approx((2, 0x1001, 0.102, WALL / 1e9 + 0.102))
    whole = metrics.request_time["/v1#0"]
    assert whole.exemplars == {whole.bounds.index(1): Exemplar(2, 0x77, 1.0, WALL / 1e9 + 1.0)}


def test_without_traces_there_are_no_exemplars() -> None:
    """They would point at nothing, and cost something."""
    metrics = Metrics()
    metrics.request_finished(rescued())
    assert not any(h.exemplars for h in (*metrics.first_packet.values(), *metrics.request_time.values()))
