"""The policy as the running system reads it: frozen, complete (every default filled in), numbered.

In:      built by sidecar.policy.build from a checked Policy message.
Out:     Snapshot; a request keeps the one it began with.
Units:   seconds, bytes; percentages stay 0..100 where Envoy's formulas use them.
"""

from __future__ import annotations

from collections.abc import Mapping

from sidecar.frozen import Frozen
from sidecar.terms import Address


class Secret(Frozen):
    """Where a secret is; exactly one is set. Its repr never shows a literal."""

    env: str | None = None
    file: str | None = None
    literal: str | None = None

    def name(self, place: int) -> str:
        """`place`: its own among those of its service, for a literal says nothing that may be shown."""
        if self.literal is not None:
            return f"literal {place + 1}"
        return f"env {self.env}" if self.env else f"file {self.file}"

    def __repr__(self) -> str:
        if self.literal is not None:
            return "Secret(literal=…)"
        return f"Secret(env={self.env!r})" if self.env else f"Secret(file={self.file!r})"


class Credential(Frozen):
    """A header that the sidecar sets: `authorization` with the scheme `Bearer `, or another."""

    header: str
    prefix: str
    secret: Secret


class Url(Frozen):
    """A service's base URL, taken apart."""

    scheme: str  # http, https
    host: str  # without brackets
    port: int
    path: str  # without a slash at its end; may be empty
    authority: str  # for the Host field: default port left out


class Tls(Frozen):
    ca_file: str = ""
    server_name: str = ""
    client_cert_file: str = ""
    client_key_file: str = ""
    insecure_skip_verify: bool = False


class Timeouts(Frozen):
    connect: float = 5.0
    first_packet: float = 30.0
    idle: float = 60.0
    total: float = 600.0
    response: float = 300.0
    first_packet_per_1k_tokens: float = 0.0
    first_packet_soft: float | None = None


class PassiveHealth(Frozen):
    failure_percentage_threshold: float = 50.0
    interval: float = 1.0
    minimum_requests: int = 5
    window: float = 10.0
    consecutive_failures: int = 5
    base_ejection_time: float = 30.0
    max_ejection_time: float = 300.0
    ejection_jitter: float = 10.0
    max_ejection_percent: float = 100.0
    probation_requests: int = 1
    ramp: float = 10.0
    enforce: bool = True


class ActiveHealth(Frozen):
    path: str = "/health"
    interval: float = 5.0
    timeout: float = 1.0
    unhealthy_threshold: int = 3
    healthy_threshold: int = 2
    expected_statuses: tuple[tuple[int, int], ...] = ((200, 299),)  # inclusive ranges
    request: InferenceCheck | None = None  # in place of path
    only_when_unhealthy: bool = False


class InferenceCheck(Frozen):
    """A whole request: its path below the service's url, and its JSON body."""

    path: str
    body: bytes


class AdaptiveConcurrency(Frozen):
    """On; `cancels`: the server stops computing when its caller hangs up."""

    cancels: bool = False
    queue_metrics: QueueMetrics | None = None  # None: not read


class QueueMetrics(Frozen):
    path: str = "/metrics"
    interval: float = 0.5


class RateLimit(Frozen):
    """Exactly one bucket of requests, one of tokens, or both, for each combination of what `by` names."""

    requests: int | None = None
    tokens: int | None = None
    per: float = 60.0
    by: tuple[str, ...] = ()  # model, api_key, uid, header:name (the name in lower case)


class WaitingLine(Frozen):
    max_requests: int = 64
    timeout: float = 1.0


class HashOn(Frozen):
    """`header`, in lower case, or else as many bytes of the prompt's beginning."""

    header: str = ""
    prompt_prefix: int = 1024


class AnswerLimits(Frozen):
    """Of the service's side."""

    max_header: int = 64 * 1024
    max_event: int = 16 * 1024 * 1024
    max_held: int = 1024 * 1024
    max_held_complete: int = 8 * 1024 * 1024


class Service(Frozen):
    name: str
    url: Url
    endpoints: tuple[Address, ...] = ()  # empty: resolve url.host
    dialect: str = "openai"
    model: str | None = None
    models: Mapping[str, str] | None = None
    credentials: tuple[Credential, ...] = ()  # used in turn; empty: the app's own goes on
    set_headers: tuple[tuple[str, str], ...] = ()  # names in lower case
    remove_headers: frozenset[str] = frozenset()  # names in lower case
    tls: Tls = Tls()
    timeouts: Timeouts = Timeouts()
    first_packet_is: str | None = None  # content, event, body, headers; None: by the path
    passive_health: PassiveHealth = PassiveHealth()
    active_health: ActiveHealth | None = None
    load_balancing: str = "least_request"
    max_concurrency: int | None = None
    adaptive_concurrency: AdaptiveConcurrency | None = None  # None: off
    limits: AnswerLimits = AnswerLimits()
    hash_on: HashOn = HashOn()
    weights: Mapping[str, int] | None = None  # by address; 1 where not named
    rate_limit: tuple[RateLimit, ...] = ()
    queue: WaitingLine | None = None

    def credential_names(self) -> tuple[str, ...]:
        """Each by where it comes from, for those who must never see it."""
        return tuple(credential.secret.name(place) for place, credential in enumerate(self.credentials))

    def model_for(self, asked: str | None) -> str | None:
        """What to rewrite the request's model to; None: leave it as it is."""
        if self.model:
            return self.model
        if self.models and asked is not None:
            return self.models.get(asked)
        return None


class RetryBudget(Frozen):
    budget_percent: float = 20.0
    min_retry_concurrency: int = 3


class Hedge(Frozen):
    after: float
    budget: float = 10.0  # per cent of the requests in flight


class Route(Frozen):
    name: str  # `/v1#0`: path prefix and place in the list
    services: tuple[str, ...]
    path_prefix: str = "/v1"
    models: tuple[str, ...] = ()  # globs
    headers: tuple[tuple[str, str], ...] = ()  # names in lower case
    fallback_on: frozenset[str] = frozenset()
    max_attempts: int = 4
    retries_per_service: int = 1
    deadline: float | None = None
    wait_for_retry_after: float = 0.0
    retry_budget: RetryBudget = RetryBudget()
    commit: str = "first_packet"
    cut_last: bool = False
    rate_limit: tuple[RateLimit, ...] = ()
    hedge: Hedge | None = None


class Snapshot(Frozen):
    generation: int
    services: Mapping[str, Service]
    routes: tuple[Route, ...]


class Limits(Frozen):
    """Of the app's side."""

    max_request_body: int = 16 * 1024 * 1024
    max_header: int = 64 * 1024
    max_connections: int = 4096
    head_timeout: float = 10.0
    body_idle_timeout: float = 30.0
    keepalive_timeout: float = 75.0
    write_timeout: float = 60.0


class Settings(Frozen):
    """The rest of the config file: what needs a restart to change. Defaults are those of the contract."""

    listen: tuple[Address, ...]
    socket_mode: int
    hosts: tuple[str, ...]
    allowed_origins: tuple[str, ...]
    state_dir: str
    drain_timeout: float
    admin_listen: tuple[Address, ...]  # empty: off
    admin_tls: tuple[str, str, str] | None  # cert, key, client CA
    ops_listen: tuple[Address, ...]  # empty: off
    otlp_endpoint: str
    sample_ratio: float
    access_log: bool
    limits: Limits
    sample_ratio_is_written: bool = True  # else the environment may know better
