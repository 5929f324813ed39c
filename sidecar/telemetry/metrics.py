"""Metrics: counts of what happened, as plain ints in dicts, ready to be read at a scrape.

In:      finished requests (Sink) and health events, on the loop.
Out:     the attributes of Metrics; sidecar.telemetry.exposition turns them into text. Where requests are traced,
         each bucket of a histogram remembers the newest trace in it: a slow bucket leads to a slow request.
Units:   histograms are in seconds.
Limits:  label values are bounded: at most MAX_SERIES label sets a metric and MAX_MODELS models, the rest is
         counted under `other`. Series of an endpoint that has left are forgotten.
Cost:    compiled, 0.1 µs a request with one attempt that is like the one before, 0.7 more where its trace is kept;
         nothing is formatted before a scrape.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final, NamedTuple

from sidecar.failure import FailureKind, blames_endpoint
from sidecar.health.events import Ejected, EndpointRemoved, HealthEvent
from sidecar.record import AttemptRecord, RequestRecord, Sink
from sidecar.telemetry.sampling import is_kept
from sidecar.terms import EndpointKey

OTHER: Final = "other"
MAX_SERIES: Final = 1000
MAX_MODELS: Final = 100
MAX_KEPT: Final = 256  # services, and endpoints, whose last label sets are kept
_MAX_LABEL: Final = 128  # a model's name may be as long as the app likes

# Fine around 200 ms and 1 s, where first-packet timeouts are set; out to a minute for long prompts.
FIRST_PACKET_BOUNDS: Final = (
    0.01,
    0.025,
    0.05,
    0.1,
    0.15,
    0.2,
    0.3,
    0.5,
    0.75,
    1,
    1.5,
    2,
    3,
    5,
    7.5,
    10,
    15,
    30,
    60,
)
# A whole answer may take minutes; `total` is ten by default.
REQUEST_BOUNDS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)

# Beside what a service is to blame for: why a request may end with an error that is not the app's own fault.
_EXHAUSTING: Final = frozenset(
    (FailureKind.AUTH, FailureKind.OVERLOADED, FailureKind.UNHEALTHY, FailureKind.DEADLINE_EXCEEDED)
)

Labels = tuple[str, ...]


class Count:
    """Of one set of labels."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Counter:
    """Counts by label values; new label sets beyond the limit are counted under `other`."""

    __slots__ = ("_counts", "_limit")

    def __init__(self, limit: int = MAX_SERIES) -> None:
        self._counts: dict[Labels, Count] = {}
        self._limit = limit

    def of(self, labels: Labels) -> Count:
        """Good until something is forgotten."""
        found = self._counts.get(labels)
        return self._begin(labels) if found is None else found

    def add(self, labels: Labels) -> None:
        self.of(labels).value += 1

    def counts(self) -> dict[Labels, int]:
        return {labels: count.value for labels, count in self._counts.items()}

    def forget(self, key: EndpointKey) -> None:
        """Lets go of the label sets that begin with this service and endpoint."""
        for labels in [labels for labels in self._counts if labels[:2] == key]:
            del self._counts[labels]

    def _begin(self, labels: Labels) -> Count:
        if len(self._counts) >= self._limit:
            labels = (OTHER,) * len(labels)
        return self._counts.setdefault(labels, Count())


class Exemplar(NamedTuple):
    """One of the values in a bucket, and the span it is of."""

    trace_id: int
    span_id: int
    value: float
    at: float  # Unix time, seconds


class _Bucket:
    """The values up to a bound that lie in no bucket before; the newest exemplar of them."""

    __slots__ = ("bound", "count", "exemplar")

    def __init__(self, bound: float) -> None:
        self.bound = bound
        self.count = 0
        self.exemplar: Exemplar | None = None


class Histogram:
    """Counts per bucket (not cumulative; the last is +Inf), the newest exemplar of each, and the sum of values."""

    __slots__ = ("_buckets", "bounds", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._buckets = [_Bucket(bound) for bound in (*bounds, inf)]
        self.sum = 0.0

    @property
    def counts(self) -> list[int]:
        return [bucket.count for bucket in self._buckets]

    @property
    def exemplars(self) -> dict[int, Exemplar]:
        """By the place of the bucket."""
        buckets = enumerate(self._buckets)
        return {place: bucket.exemplar for place, bucket in buckets if bucket.exemplar is not None}

    def observe(self, value: float, exemplar: Exemplar | None = None) -> None:
        self.sum += value
        for bucket in self._buckets:  # most values lie under one of the first few
            if value <= bucket.bound:
                bucket.count += 1
                if exemplar is not None:
                    bucket.exemplar = exemplar
                return


class Histograms(dict[str, Histogram]):
    """One histogram for each value of one label."""

    __slots__ = ("_bounds", "_limit")

    def __init__(self, bounds: tuple[float, ...], limit: int = MAX_SERIES) -> None:
        super().__init__()
        self._bounds = bounds
        self._limit = limit

    def __missing__(self, label: str) -> Histogram:
        if len(self) >= self._limit:
            label = OTHER
            if label in self:
                return self[label]
        made = self[label] = Histogram(self._bounds)
        return made


class _Tokens:
    """Where the tokens of a service's answers by one model are counted."""

    __slots__ = ("completion", "model", "prompt")

    def __init__(self, model: str) -> None:
        self.model = model
        self.prompt: Count | None = None
        self.completion: Count | None = None


class _Answers:
    """Where requests of one route are counted that one service, or none, has answered with one status."""

    __slots__ = ("first_packet", "requests", "route", "status", "time", "tokens")

    def __init__(self, route: str, status: int, requests: Count) -> None:
        self.route = route
        self.status = status
        self.requests = requests
        self.time: Histogram | None = None
        self.first_packet: Histogram | None = None
        self.tokens: _Tokens | None = None


class _Attempts:
    """Where attempts at one endpoint are counted that end with one outcome."""

    __slots__ = ("attempts", "first_content", "first_packet", "outcome", "service")

    def __init__(self, service: str, outcome: str, attempts: Count) -> None:
        self.service = service
        self.outcome = outcome
        self.attempts = attempts
        self.first_packet: Histogram | None = None
        self.first_content: Histogram | None = None


class Metrics(Sink):
    """A sink of requests and health events. `traces`: requests are traced, and those that are kept can be looked up.

    Most requests end as one before: where those of a service and the attempts at an endpoint were counted last is
    kept, so that labels are put together and looked up only for one that is unlike.
    """

    def __init__(self, *, max_series: int = MAX_SERIES, max_models: int = MAX_MODELS) -> None:
        self.requests = Counter(max_series)  # route, service, code
        self.attempts = Counter(max_series)  # service, endpoint, outcome
        self.fallbacks = Counter(max_series)  # from, to, reason
        self.ejections = Counter(max_series)  # service, endpoint, reason
        self.exhausted = Counter(max_series)  # route
        self.tokens = Counter(max_series)  # service, model, kind
        self.first_packet = Histograms(FIRST_PACKET_BOUNDS, max_series)
        self.first_content = Histograms(FIRST_PACKET_BOUNDS, max_series)
        self.app_first_packet = Histograms(FIRST_PACKET_BOUNDS, max_series)
        self.request_time = Histograms(REQUEST_BOUNDS, max_series)
        self.traces = False
        self._models: set[str] = set()
        self._max_models = max_models
        self._last_answers: dict[str, _Answers] = {}  # by service
        self._last_attempts: dict[str, _Attempts] = {}  # by the endpoint's address

    def request_finished(self, record: RequestRecord) -> None:
        failure, ended = record.failure, record.ended_at
        traced = self.traces and is_kept(record)
        answers = self._answers_like(record)
        answers.requests.value += 1
        if ended is not None:
            time = ended - record.started_at
            exemplar = _exemplar(record, record.span_id, time, ended) if traced else None
            if (times := answers.time) is None:
                times = answers.time = self.request_time[record.route]
            times.observe(time, exemplar)
        for attempt in record.attempts:
            self._attempt_finished(record, attempt, traced=traced)
        if record.answered is not None:
            self._count_answer(record, record.answered, answers, traced=traced)
        if failure is not None and _nothing_was_left(record):
            self.exhausted.add((record.route,))
        if record.prompt_tokens is not None or record.completion_tokens is not None:
            self._count_tokens(record, answers)

    def health_events(self, events: Sequence[HealthEvent]) -> None:
        for event in events:
            if isinstance(event, Ejected):
                if event.enforced:
                    self.ejections.add((event.key.service, event.key.address, event.reason))
            elif isinstance(event, EndpointRemoved):
                self._forget(event.key)

    def _answers_like(self, record: RequestRecord) -> _Answers:
        route, service, status, failure = record.route, record.service, record.status, record.failure
        last = self._last_answers.get(service)
        if last is not None and failure is None and last.status == status and last.route == route:
            return last
        code = str(status) if failure is None else failure.code
        answers = _Answers(route, status, self.requests.of((route, service, code)))
        if failure is None:
            if len(self._last_answers) >= MAX_KEPT:  # policies go, and their names with them
                self._last_answers.clear()
            self._last_answers[service] = answers
        return answers

    def _attempts_like(self, attempt: AttemptRecord) -> _Attempts:
        service, endpoint, outcome = attempt.service, attempt.endpoint, attempt.outcome
        last = self._last_attempts.get(endpoint)
        if last is not None and last.outcome == outcome and last.service == service:
            return last
        attempts = _Attempts(service, outcome, self.attempts.of((service, endpoint, outcome)))
        if len(self._last_attempts) >= MAX_KEPT:
            self._last_attempts.clear()
        self._last_attempts[endpoint] = attempts
        return attempts

    def _attempt_finished(self, record: RequestRecord, attempt: AttemptRecord, *, traced: bool) -> None:
        service = attempt.service
        attempts = self._attempts_like(attempt)
        attempts.attempts.value += 1
        if (at := attempt.first_packet_at) is not None:
            time = at - attempt.started_at
            exemplar = _exemplar(record, attempt.span_id, time, at) if traced else None
            if (packets := attempts.first_packet) is None:
                packets = attempts.first_packet = self.first_packet[service]
            packets.observe(time, exemplar)
        if attempt.first_content_at is not None:
            if (contents := attempts.first_content) is None:
                contents = attempts.first_content = self.first_content[service]
            contents.observe(attempt.first_content_at - attempt.started_at)
        if attempt.fallback_from is not None and attempt.fell_back(record):
            self.fallbacks.add((attempt.fallback_from, service, attempt.reason or ""))

    def _count_answer(
        self, record: RequestRecord, answered: AttemptRecord, answers: _Answers, *, traced: bool
    ) -> None:
        """What the attempts together were to the app."""
        at = answered.first_packet_at
        if at is not None and 0 < record.status < 400:
            time = at - record.started_at
            exemplar = _exemplar(record, record.span_id, time, at) if traced else None
            if (packets := answers.first_packet) is None:
                packets = answers.first_packet = self.app_first_packet[record.route]
            packets.observe(time, exemplar)

    def _count_tokens(self, record: RequestRecord, answers: _Answers) -> None:
        sent = record.answered.model if record.answered is not None else None
        model = sent or record.model or ""
        tokens = answers.tokens
        if tokens is None or tokens.model != model:
            model = self._bounded_model(model)
            tokens = answers.tokens = _Tokens(model)
        if record.prompt_tokens:
            if (prompt := tokens.prompt) is None:
                prompt = tokens.prompt = self.tokens.of((record.service, model, "input"))
            prompt.value += record.prompt_tokens
        if record.completion_tokens:
            if (completion := tokens.completion) is None:
                completion = tokens.completion = self.tokens.of((record.service, model, "output"))
            completion.value += record.completion_tokens

    def _bounded_model(self, model: str) -> str:
        if model in self._models:
            return model
        if len(self._models) >= self._max_models or len(model) > _MAX_LABEL:
            return OTHER
        self._models.add(model)
        return model

    def _forget(self, key: EndpointKey) -> None:
        """Addresses come and go with DNS: without this their series would pile up for ever."""
        for counter in (self.attempts, self.ejections):
            counter.forget(key)
        self._last_attempts.clear()  # what was `other` may have a place of its own now


def _exemplar(record: RequestRecord, span_id: int, value: float, at: float) -> Exemplar:
    return Exemplar(record.trace_id, span_id, value, record.started_wall / 1e9 + at - record.started_at)


def _nothing_was_left(record: RequestRecord) -> bool:
    """The app got an error, the last service's or ours, that another candidate might have spared it."""
    failure = record.failure
    if failure is None or record.status < 400:  # below: the answer had begun, and broke
        return False
    return failure.kind in _EXHAUSTING or blames_endpoint(failure)
