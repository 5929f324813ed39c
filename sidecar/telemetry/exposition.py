"""What /metrics answers: the counts of Metrics and the gauges of the moment, as Prometheus or OpenMetrics text.

In:      Metrics; a Gauges full of callables that are asked at each scrape; the Accept field of the scraper.
Out:     (body, content type). Exemplars are in OpenMetrics only: the plain text has no place for them.
Note:    the only module that imports prometheus_client, so import it only when ops is on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as Shown
from prometheus_client.utils import floatToGoString

from sidecar.frozen import Frozen
from sidecar.telemetry.metrics import Exemplar, Histograms, Labels, Metrics


class Status(Protocol):
    """What the ledger knows of an endpoint, as far as metrics care."""

    @property
    def service(self) -> str: ...
    @property
    def endpoint(self) -> str: ...
    @property
    def available(self) -> bool: ...
    @property
    def reason(self) -> str: ...
    @property
    def concurrency_limit(self) -> float | None: ...


class Gauges(Frozen):
    """Asked at each scrape, on the loop."""

    statuses: Callable[[], Sequence[Status]]
    active_requests: Callable[[], Mapping[str, int]]
    policy_generation: Callable[[], int]
    events_dropped: Callable[[], int]
    loop_lag: Callable[[], float]
    policies_rejected: Callable[[], Mapping[str, int]] = dict  # by where they came from
    retries_refused: Callable[[], Mapping[str, int]] = dict  # by route, every route that there is
    spans_dropped: Callable[[], int] = lambda: 0
    log_lines_dropped: Callable[[], int] = lambda: 0


class Exposition(Collector):
    def __init__(self, metrics: Metrics, gauges: Gauges) -> None:
        self._metrics = metrics
        self._gauges = gauges
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """OpenMetrics for whoever asks for it by name, else the plain text that everything reads."""
        if _accepts_openmetrics(accept):
            body: bytes = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]
            return body, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        yield from self._counters()
        yield from self._histograms()
        yield from self._gauges_now()

    def _counters(self) -> Iterator[Metric]:
        m, g = self._metrics, self._gauges
        yield _counter(
            "sidecar_requests",
            "Requests that ended, by the status the app got or the failure it saw.",
            ("route", "service", "code"),
            m.requests.counts(),
        )
        yield _counter(
            "sidecar_attempts",
            "Attempts that ended, by outcome: success, cancelled or the failure's code.",
            ("service", "endpoint", "outcome"),
            m.attempts.counts(),
        )
        yield _counter(
            "sidecar_fallbacks",
            "Attempts in a service that stood in for an earlier one of the route.",
            ("from", "to", "reason"),
            m.fallbacks.counts(),
        )
        yield _counter(
            "sidecar_ejections",
            "Times an endpoint was taken out of rotation.",
            ("service", "endpoint", "reason"),
            m.ejections.counts(),
        )
        yield _counter(
            "sidecar_tokens",
            "Tokens as the service reported them; kind is input or output.",
            ("service", "model", "kind"),
            m.tokens.counts(),
        )
        refused = g.retries_refused()
        yield _counter(
            "sidecar_requests_exhausted",
            "Requests that ended with an error because nothing was left to try.",
            ("route",),
            {**dict.fromkeys(((route,) for route in refused), 0), **m.exhausted.counts()},
        )
        yield _counter(
            "sidecar_retries_refused",
            "Times the retry budget of a route had no room for another retry.",
            ("route",),
            {(route,): count for route, count in refused.items()},
        )
        yield _counter(
            "sidecar_policy_rejected",
            "Policies that were refused, by where they came from: file, api or state.",
            ("source",),
            {(source,): count for source, count in g.policies_rejected().items()},
        )
        yield CounterMetricFamily(
            "sidecar_events_dropped",
            "Health events that a watcher missed because it read too slowly.",
            value=g.events_dropped(),
        )
        yield CounterMetricFamily(
            "sidecar_spans_dropped",
            "Requests whose spans were lost: queue full, or the collector failed or rejected them.",
            value=g.spans_dropped(),
        )
        yield CounterMetricFamily(
            "sidecar_log_lines_dropped",
            "Log lines not written because stdout was blocked or closed.",
            value=g.log_lines_dropped(),
        )

    def _histograms(self) -> Iterator[Metric]:
        m = self._metrics
        yield _histogram(
            "sidecar_first_packet_seconds",
            "From the start of an attempt to its first packet: the first that is progress for the app.",
            "service",
            m.first_packet,
        )
        yield _histogram(
            "sidecar_first_content_seconds",
            "From the start of an attempt to its first text, tool call or reasoning.",
            "service",
            m.first_content,
        )
        yield _histogram(
            "sidecar_app_first_packet_seconds",
            "From the first byte of a request to the first packet its app got, every attempt before included.",
            "route",
            m.app_first_packet,
        )
        yield _histogram(
            "sidecar_request_seconds",
            "From the first byte of a request to the last of its answer, every attempt included.",
            "route",
            m.request_time,
        )

    def _gauges_now(self) -> Iterator[Metric]:
        g = self._gauges
        available = GaugeMetricFamily(
            "sidecar_endpoint_available",
            "1 if the endpoint is in rotation, be it at its adaptive limit, else 0.",
            labels=("service", "endpoint"),
        )
        limit = GaugeMetricFamily(
            "sidecar_concurrency_limit",
            "Requests that may be in flight at the endpoint at present, by adaptive_concurrency.",
            labels=("service", "endpoint"),
        )
        for status in g.statuses():
            available.add_metric(
                (status.service, status.endpoint), float(status.available or status.reason == "overloaded")
            )
            if status.concurrency_limit is not None:
                limit.add_metric((status.service, status.endpoint), status.concurrency_limit)
        yield available
        yield limit
        active = GaugeMetricFamily(
            "sidecar_active_requests", "Requests in flight at the service.", labels=("service",)
        )
        for service, count in g.active_requests().items():
            active.add_metric((service,), count)
        yield active
        yield GaugeMetricFamily(
            "sidecar_policy_generation", "Number of the policy that runs.", value=g.policy_generation()
        )
        yield GaugeMetricFamily(
            "sidecar_loop_lag_seconds",
            "Longest lateness of the event loop in the last half minute.",
            value=g.loop_lag(),
        )


def _counter(name: str, text: str, labels: Sequence[str], counts: Mapping[Labels, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count)
    return family


def _histogram(name: str, text: str, label: str, histograms: Histograms) -> Metric:
    family = HistogramMetricFamily(name, text, labels=(label,))
    for value, histogram in histograms.items():
        bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
        exemplars = map(histogram.exemplars.get, range(len(bounds)))
        family.add_metric(
            (value,), list(map(_bucket, bounds, accumulate(histogram.counts), exemplars)), histogram.sum
        )
    return family


def _bucket(
    bound: str, count: int, exemplar: Exemplar | None
) -> tuple[str, float] | tuple[str, float, Shown]:
    if exemplar is None:
        return bound, count
    ids = {"trace_id": f"{exemplar.trace_id:032x}", "span_id": f"{exemplar.span_id:016x}"}
    return bound, count, Shown(ids, exemplar.value, exemplar.at)


def _accepts_openmetrics(accept: str) -> bool:
    for offer in accept.split(","):
        kind, *parameters = (part.strip() for part in offer.split(";"))
        if kind == "application/openmetrics-text" and not any(p.startswith("version=0") for p in parameters):
            return True
    return False
