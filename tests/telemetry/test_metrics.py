"""What is counted, and that labels stay bounded."""

from __future__ import annotations

from sidecar.failure import Failure, FailureKind
from sidecar.health.events import Ejected, EndpointRemoved
from sidecar.telemetry.metrics import OTHER, Metrics
from sidecar.terms import EndpointKey
from tests.telemetry.records import LATE, attempt, request, rescued


def test_a_rescued_request_counts_once_and_its_attempts_twice() -> None:
    """Requests are what the app saw, attempts what it cost."""
    metrics = Metrics()
    metrics.request_finished(rescued())
    assert metrics.requests == {("/v1#0", "backup", "200"): 1}
    assert metrics.attempts == {
        ("primary", "10.0.0.1:8000", "first_packet_timeout"): 1,
        ("backup", "10.0.0.2:443", "success"): 1,
    }
    assert metrics.fallbacks == {("primary", "backup", "first_packet_timeout"): 1}


def test_a_first_attempt_that_skipped_an_ejected_primary_is_a_fallback() -> None:
    """Else an outage would show no fallbacks as soon as the ejection holds."""
    metrics = Metrics()
    metrics.request_finished(request(attempt(1, "backup", fallback_from="primary", reason="unhealthy")))
    assert metrics.fallbacks == {("primary", "backup", "unhealthy"): 1}


def test_a_retry_in_the_same_service_is_no_fallback() -> None:
    """The reason of a retry is told by the attempts' outcomes."""
    metrics = Metrics()
    metrics.request_finished(request(attempt(1, failure=LATE), attempt(2, reason="reset")))
    assert metrics.fallbacks == {}


def test_a_failed_request_is_counted_by_its_failure_and_a_status_by_its_number() -> None:
    """`code` is a status or a failure's word."""
    metrics = Metrics()
    metrics.request_finished(request(attempt(failure=LATE), failure=LATE))
    metrics.request_finished(request(failure=Failure(FailureKind.STATUS, status=503)))
    assert metrics.requests == {
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
    assert metrics.tokens == {("backup", "qwen-plus", "input"): 12, ("backup", "qwen-plus", "output"): 30}


def test_model_names_are_bounded() -> None:
    """The app makes them up; the hundred-and-first is `other`."""
    metrics = Metrics(max_models=2)
    for name in ("a", "b", "c", "d", "a", "x" * 1000):
        record = request()
        record.model, record.prompt_tokens = name, 1
        metrics.request_finished(record)
    assert metrics.tokens == {
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
    assert len(metrics.attempts) == 4
    assert metrics.attempts[OTHER, OTHER, OTHER] == 7
    assert sum(metrics.requests.values()) == 10
    assert len(metrics.first_packet) == 4
    assert sum(sum(h.counts) for h in metrics.first_packet.values()) == 10
    assert sum(sum(h.counts) for h in metrics.request_time.values()) == 10


def _ejected(*, enforced: bool) -> Ejected:
    return Ejected(EndpointKey("primary", "10.0.0.1:8000"), "failure_percentage", 60.0, 10, 1, 30.0, enforced)


def test_only_enforced_ejections_count() -> None:
    """With `enforce: false` nothing left rotation."""
    metrics = Metrics()
    metrics.health_events([_ejected(enforced=True), _ejected(enforced=False)])
    assert metrics.ejections == {("primary", "10.0.0.1:8000", "failure_percentage"): 1}


def test_an_endpoint_that_left_is_forgotten() -> None:
    """Pod addresses change for ever; their series must not pile up."""
    metrics = Metrics()
    metrics.request_finished(rescued())
    metrics.health_events([_ejected(enforced=True)])
    metrics.health_events([EndpointRemoved(EndpointKey("primary", "10.0.0.1:8000"))])
    assert metrics.attempts == {("backup", "10.0.0.2:443", "success"): 1}
    assert metrics.ejections == {}
