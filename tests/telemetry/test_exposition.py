"""/metrics as a scraper reads it."""

from __future__ import annotations

from random import Random

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from sidecar.health.events import Ejected
from sidecar.health.ledger import Ledger
from sidecar.policy.snapshot import AdaptiveConcurrency, Service, Url
from sidecar.telemetry.exposition import Exposition, Gauges
from sidecar.telemetry.metrics import Metrics
from sidecar.terms import EndpointKey
from tests.telemetry.records import WALL, rescued

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
KEY = EndpointKey("primary", "10.0.0.1:8000")

CONTRACT = {
    "sidecar_requests": {"route", "service", "code"},
    "sidecar_attempts": {"service", "endpoint", "outcome"},
    "sidecar_first_packet_seconds": {"service"},
    "sidecar_first_content_seconds": {"service"},
    "sidecar_app_first_packet_seconds": {"route"},
    "sidecar_request_seconds": {"route"},
    "sidecar_requests_exhausted": {"route"},
    "sidecar_retries_refused": {"route"},
    "sidecar_policy_rejected": {"source"},
    "sidecar_fallbacks": {"from", "to", "reason"},
    "sidecar_ejections": {"service", "endpoint", "reason"},
    "sidecar_endpoint_available": {"service", "endpoint"},
    "sidecar_concurrency_limit": {"service", "endpoint"},
    "sidecar_active_requests": {"service"},
    "sidecar_tokens": {"service", "model", "kind"},
    "sidecar_policy_generation": set(),
    "sidecar_events_dropped": set(),
    "sidecar_loop_lag_seconds": set(),
}


def _exposition() -> Exposition:
    ledger = Ledger(Random(1))
    primary = Service("primary", Url("http", "h", 80, "", "h"), adaptive_concurrency=AdaptiveConcurrency())
    ledger.configure({"primary": primary}, 0.0)
    ledger.set_endpoints("primary", [KEY.address], 0.0)
    ledger.eject(KEY, 30.0, 0.0)
    metrics = Metrics()
    metrics.traces = True
    record = rescued()
    record.prompt_tokens, record.completion_tokens = 12, 30
    metrics.request_finished(record)
    metrics.health_events([Ejected(KEY, "manual", 0.0, 0, 1, 30.0, True)])
    return Exposition(
        metrics,
        Gauges(
            statuses=lambda: ledger.statuses(1.0),
            active_requests=lambda: {"primary": 3},
            policy_generation=lambda: 7,
            events_dropped=lambda: 2,
            loop_lag=lambda: 0.25,
            policies_rejected=lambda: {"file": 4, "api": 0},
            retries_refused=lambda: {"/v1#0": 5, "/v1#1": 0},
        ),
    )


def _families(accept: str) -> dict[str, Metric]:
    body, content_type = _exposition().render(accept)
    if content_type.startswith("application/openmetrics-text"):
        families = parse_openmetrics(body.decode())  # type: ignore[no-untyped-call]
    else:
        families = parse_plain(body.decode())
    return {family.name: family for family in families}


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_every_metric_of_the_contract_is_there_with_its_labels_and_help(accept: str) -> None:
    """Dashboards and alerts are written against these names."""
    families = _families(accept)
    for name, labels in CONTRACT.items():
        family = families[name]
        assert family.documentation, name
        assert family.samples, name
        assert {label for sample in family.samples for label in sample.labels} - {"le"} == labels, name


def test_gauges_are_asked_at_the_scrape() -> None:
    """They are states, not counts."""
    families = _families("")
    values = {
        name: families[name].samples[0].value
        for name in (
            "sidecar_endpoint_available",
            "sidecar_concurrency_limit",
            "sidecar_active_requests",
            "sidecar_policy_generation",
            "sidecar_events_dropped",
            "sidecar_loop_lag_seconds",
        )
    }
    assert list(values.values()) == [0.0, 16.0, 3.0, 7.0, 2.0, 0.25]


def test_buckets_add_up() -> None:
    """Prometheus wants them cumulative, the last being all."""
    family = _families("")["sidecar_first_packet_seconds"]
    by_le = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}
    assert by_le["0.05"] == 0
    assert by_le["0.1"] + by_le["0.15"] >= 1
    assert by_le["60.0"] == by_le["+Inf"] == 1
    assert list(by_le.values()) == sorted(by_le.values())


def test_process_metrics_have_their_usual_names() -> None:
    """Memory, CPU and descriptors of a pod are graphed by names that everybody shares."""
    families = _families("")
    names = {"process_resident_memory_bytes", "process_cpu_seconds", "process_open_fds"}
    assert names <= families.keys()


def test_label_values_from_outside_cannot_break_the_text() -> None:
    """A model's name is the app's to choose."""
    metrics = Metrics()
    record = rescued()
    record.attempts[-1].model = 'a"b\\c\nd{} 1\nsidecar_evil 1'
    record.prompt_tokens = 1
    metrics.request_finished(record)
    gauges = Gauges(list, dict, lambda: 0, lambda: 0, lambda: 0.0)
    body, _ = Exposition(metrics, gauges).render()
    (family,) = [f for f in parse_plain(body.decode()) if f.name == "sidecar_tokens"]
    assert family.samples[0].labels["model"] == record.attempts[-1].model
    assert b"\nsidecar_evil" not in body


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text;version=0.0.1", "text/html", "*/*", ";;,=,"]
)
def test_whoever_does_not_ask_for_openmetrics_gets_plain_text(accept: str) -> None:
    """Everything reads it."""
    assert _exposition().render(accept)[1].startswith("text/plain; version=0.0.4")


def test_counts_of_rare_trouble_begin_at_zero() -> None:
    """Prometheus sees no increase in a series whose first sample is already 1, so the first alert would be lost."""
    families = _families("")
    values = {
        name: {next(iter(s.labels.values())): s.value for s in families[name].samples}
        for name in ("sidecar_requests_exhausted", "sidecar_retries_refused", "sidecar_policy_rejected")
    }
    assert values == {
        "sidecar_requests_exhausted": {"/v1#0": 0, "/v1#1": 0},
        "sidecar_retries_refused": {"/v1#0": 5, "/v1#1": 0},
        "sidecar_policy_rejected": {"file": 4, "api": 0},
    }


@pytest.mark.parametrize(
    ("name", "span_id", "value", "after"),
    [
        ("sidecar_first_packet_seconds", 0x1002, 0.1, 0.3),
        ("sidecar_app_first_packet_seconds", 0x77, 0.3, 0.3),
        ("sidecar_request_seconds", 0x77, 1.0, 1.0),
    ],
)
def test_a_bucket_leads_to_a_trace_in_openmetrics(
    name: str, span_id: int, value: float, after: float
) -> None:
    """From a slow bucket of a graph to a slow request, in one click."""
    (shown,) = [s.exemplar for s in _families(OPENMETRICS)[name].samples if s.exemplar is not None]
    assert shown.labels == {"trace_id": f"{0xABC:032x}", "span_id": f"{span_id:016x}"}
    assert shown.value == pytest.approx(value)
    assert shown.timestamp is not None
    assert float(shown.timestamp) == pytest.approx(WALL / 1e9 + after)


def test_exemplars_stand_in_the_bucket_they_are_of() -> None:
    """The format demands it: not above the bucket's bound."""
    for family in _families(OPENMETRICS).values():
        for sample in family.samples:
            if sample.exemplar is not None:
                assert sample.exemplar.value <= float(sample.labels["le"])


def test_plain_text_has_no_exemplars() -> None:
    """Its parsers refuse them."""
    assert b"trace_id" not in _exposition().render("")[0]
    assert b"trace_id" in _exposition().render(OPENMETRICS)[0]
