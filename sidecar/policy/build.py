"""From checked messages to what the running system reads: every default filled in, every text taken apart.

In:      a Config or Policy that sidecar.policy.check found no problem in.
Out:     Settings and Snapshot. The operations on messages (merge, redacted, …) are handed on from change.
Errors:  none for a checked message; for any other the parsers' own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from types import MappingProxyType

from google.protobuf.message import Message
from llmsidecar.v1 import config_pb2, policy_pb2

from sidecar.policy import syntax
from sidecar.policy.change import etag_of, merge, redacted, unredacted
from sidecar.policy.config_rules import mode_of
from sidecar.policy.credential_rules import credential_header, credentials_of
from sidecar.policy.rules import Kind, field_of, items_of, rule_of, value_of
from sidecar.policy.snapshot import (
    ActiveHealth,
    AdaptiveConcurrency,
    AnswerLimits,
    Credential,
    HashOn,
    Hedge,
    InferenceCheck,
    Limits,
    PassiveHealth,
    QueueMetrics,
    RateLimit,
    RetryBudget,
    Route,
    Secret,
    Service,
    Settings,
    Snapshot,
    Timeouts,
    Tls,
    WaitingLine,
)
from sidecar.policy.units import SECOND
from sidecar.terms import Address, parse_address

__all__ = [
    "DEFAULT_FALLBACK_ON",
    "build_secret",
    "build_settings",
    "build_snapshot",
    "build_tls",
    "etag_of",
    "merge",
    "redacted",
    "unredacted",
]

# What a route falls back on when it does not say; written down in the schema, beside the field.
DEFAULT_FALLBACK_ON = frozenset(items_of(policy_pb2.Route(), "fallback_on"))


# An inference waits its turn behind the app's own; a path is answered by a server that does nothing else for it.
INFERENCE_TIMEOUT = 10.0


def build_snapshot(policy: policy_pb2.Policy, generation: int) -> Snapshot:
    left = {name for route in policy.routes for name in route.services[:-1]}  # there is somewhere else to go
    services = {s.name: _service(s, adaptive=s.name in left) for s in policy.services}
    routes = tuple(_route(route, place) for place, route in enumerate(policy.routes))
    return Snapshot(generation, MappingProxyType(services), routes)


def build_settings(config: config_pb2.Config) -> Settings:
    admin, ops, telemetry, limits = config.admin, config.ops, config.telemetry, config.limits
    tls = admin.tls
    return Settings(
        listen=_addresses(config, "listen"),
        socket_mode=mode_of(_text(config, "socket_mode")),
        hosts=tuple(host.lower() for host in items_of(config, "hosts")),
        allowed_origins=tuple(origin.lower() for origin in config.allowed_origins),
        state_dir=config.state_dir,
        drain_timeout=_seconds(config, "drain_timeout"),
        admin_listen=_addresses(admin, "listen") if _flag(admin, "enabled") else (),
        admin_tls=(tls.cert_file, tls.key_file, tls.client_ca_file) if admin.HasField("tls") else None,
        ops_listen=_addresses(ops, "listen") if _flag(ops, "enabled") else (),
        otlp_endpoint=telemetry.otlp_endpoint,
        sample_ratio=_number(telemetry, "sample_ratio"),
        sample_ratio_is_written=telemetry.HasField("sample_ratio"),
        access_log=_flag(telemetry, "access_log"),
        limits=Limits(
            max_request_body=_whole(limits, "max_request_body"),
            max_header=_whole(limits, "max_header"),
            max_connections=_whole(limits, "max_connections"),
            head_timeout=_seconds(limits, "head_timeout"),
            body_idle_timeout=_seconds(limits, "body_idle_timeout"),
            keepalive_timeout=_seconds(limits, "keepalive_timeout"),
            write_timeout=_seconds(limits, "write_timeout"),
        ),
    )


def build_secret(secret: policy_pb2.Secret) -> Secret:
    source = secret.WhichOneof("source")
    assert source is not None
    return Secret(**{source: getattr(secret, source)})


def build_tls(tls: policy_pb2.UpstreamTls) -> Tls:
    return Tls(
        ca_file=tls.ca_file,
        server_name=tls.server_name,
        client_cert_file=tls.client_cert_file,
        client_key_file=tls.client_key_file,
        insecure_skip_verify=tls.insecure_skip_verify,
    )


def _service(service: policy_pb2.Service, *, adaptive: bool) -> Service:
    """`adaptive`: whether its concurrency is adaptive if it does not say."""
    return Service(
        name=service.name,
        url=syntax.parse_url(service.url),
        endpoints=_addresses(service, "endpoints"),
        dialect=_text(service, "dialect"),
        model=service.model or None,
        models=MappingProxyType(dict(service.models)) if service.models else None,
        credentials=tuple(map(_credential, credentials_of(service))),
        set_headers=tuple(sorted((name.lower(), value) for name, value in service.headers.set.items())),
        remove_headers=frozenset(name.lower() for name in service.headers.remove),
        tls=build_tls(service.tls),
        timeouts=Timeouts(
            connect=_seconds(service.timeouts, "connect"),
            first_packet=_seconds(service.timeouts, "first_packet"),
            idle=_seconds(service.timeouts, "idle"),
            total=_seconds(service.timeouts, "total"),
            response=_seconds(service.timeouts, "response"),
            first_packet_per_1k_tokens=_seconds(service.timeouts, "first_packet_per_1k_tokens"),
            first_packet_soft=_maybe_seconds(service.timeouts, "first_packet_soft"),
        ),
        first_packet_is=service.first_packet_is or None,
        passive_health=_passive(service.passive_health),
        active_health=_active(service) if service.HasField("active_health") else None,
        load_balancing=_text(service, "load_balancing"),
        max_concurrency=service.max_concurrency or None,
        adaptive_concurrency=_adaptive(service.adaptive_concurrency, adaptive),
        limits=AnswerLimits(
            max_header=_whole(service.limits, "max_header"),
            max_event=_whole(service.limits, "max_event"),
            max_held=_whole(service.limits, "max_held"),
            max_held_complete=_whole(service.limits, "max_held_complete"),
        ),
        hash_on=HashOn(service.hash_on.header.lower(), _whole(service.hash_on, "prompt_prefix")),
        weights=_weights(service),
        rate_limit=_rate_limits(service.rate_limit),
        queue=_queue(service.queue) if service.HasField("queue") else None,
    )


def _weights(service: policy_pb2.Service) -> MappingProxyType[str, int] | None:
    if not service.weights:
        return None
    return MappingProxyType({str(parse_address(text)): weight for text, weight in service.weights.items()})


def _rate_limits(limits: Iterable[policy_pb2.RateLimit]) -> tuple[RateLimit, ...]:
    return tuple(
        RateLimit(
            requests=limit.requests or None,
            tokens=limit.tokens or None,
            per=_seconds(limit, "per"),
            by=tuple(word.lower() for word in limit.by),
        )
        for limit in limits
    )


def _queue(queue: policy_pb2.WaitingLine) -> WaitingLine:
    return WaitingLine(_whole(queue, "max_requests"), _seconds(queue, "timeout"))


def _adaptive(written: policy_pb2.AdaptiveConcurrency, default: bool) -> AdaptiveConcurrency | None:
    if not (written.enabled if written.HasField("enabled") else default):
        return None
    metrics = None
    if written.HasField("queue_metrics"):
        read = written.queue_metrics
        metrics = QueueMetrics(_text(read, "path"), _seconds(read, "interval"))
    return AdaptiveConcurrency(cancels=_flag(written, "server_cancels"), queue_metrics=metrics)


def _credential(credential: policy_pb2.Credential) -> Credential:
    bearer = credential.HasField("bearer")
    return Credential(
        header=credential_header(credential),
        prefix="Bearer " if bearer else "",
        secret=build_secret(credential.bearer if bearer else credential.header.value),
    )


def _passive(passive: policy_pb2.PassiveHealth) -> PassiveHealth:
    return PassiveHealth(
        failure_percentage_threshold=_number(passive, "failure_percentage_threshold"),
        interval=_seconds(passive, "interval"),
        minimum_requests=_whole(passive, "minimum_requests"),
        window=_seconds(passive, "window"),
        consecutive_failures=_whole(passive, "consecutive_failures"),
        base_ejection_time=_seconds(passive, "base_ejection_time"),
        max_ejection_time=_seconds(passive, "max_ejection_time"),
        ejection_jitter=_number(passive, "ejection_jitter"),
        max_ejection_percent=_number(passive, "max_ejection_percent"),
        probation_requests=_whole(passive, "probation_requests"),
        ramp=_seconds(passive, "ramp"),
        enforce=_flag(passive, "enforce"),
    )


def _active(service: policy_pb2.Service) -> ActiveHealth:
    active = service.active_health
    patient = active.HasField("request") and not active.HasField("timeout")
    return ActiveHealth(
        path=_text(active, "path"),
        interval=_seconds(active, "interval"),
        timeout=INFERENCE_TIMEOUT if patient else _seconds(active, "timeout"),
        unhealthy_threshold=_whole(active, "unhealthy_threshold"),
        healthy_threshold=_whole(active, "healthy_threshold"),
        expected_statuses=tuple(map(syntax.parse_statuses, items_of(active, "expected_statuses"))),
        request=_inference(service) if active.HasField("request") else None,
        only_when_unhealthy=_flag(active, "only_when_unhealthy"),
    )


def _inference(service: policy_pb2.Service) -> InferenceCheck:
    """A chat of one line, as a stream: its first token says enough. A reasoning model's is a thought."""
    written = service.active_health.request
    anthropic = _text(service, "dialect") == "anthropic"
    body = written.body or json.dumps(
        {
            "model": written.model or service.model,
            "messages": [{"role": "user", "content": _text(written, "prompt")}],
            "max_tokens": _whole(written, "max_tokens"),
            "stream": True,
        }
    )
    path = written.path or ("/messages" if anthropic else "/chat/completions")
    return InferenceCheck(path, body.encode())


def _route(route: policy_pb2.Route, place: int) -> Route:
    prefix = _text(route.match, "path_prefix").rstrip("/") or "/"
    return Route(
        name=f"{prefix}#{place}",
        services=tuple(route.services),
        path_prefix=prefix,
        models=tuple(route.match.models),
        headers=tuple(sorted((name.lower(), value) for name, value in route.match.headers.items())),
        fallback_on=frozenset(items_of(route, "fallback_on")),
        max_attempts=_whole(route, "max_attempts"),
        retries_per_service=_whole(route, "retries_per_service"),
        deadline=_seconds(route, "deadline") if route.HasField("deadline") else None,
        wait_for_retry_after=_seconds(route, "wait_for_retry_after"),
        retry_budget=RetryBudget(
            budget_percent=_number(route.retry_budget, "budget_percent"),
            min_retry_concurrency=_whole(route.retry_budget, "min_retry_concurrency"),
        ),
        commit=_text(route, "commit"),
        cut_last=_flag(route, "cut_last"),
        rate_limit=_rate_limits(route.rate_limit),
        hedge=_hedge(route.hedge) if route.HasField("hedge") else None,
    )


def _hedge(hedge: policy_pb2.Hedge) -> Hedge:
    return Hedge(_seconds(hedge, "after"), _number(hedge, "budget"))


def _addresses(message: Message, name: str) -> tuple[Address, ...]:
    return tuple(map(parse_address, items_of(message, name)))


def _seconds(message: Message, name: str) -> float:
    value = value_of(message, name)
    assert isinstance(value, int)
    assert rule_of(field_of(message, name)).kind is Kind.DURATION
    return value / SECOND


def _maybe_seconds(message: Message, name: str) -> float | None:
    return _seconds(message, name) if message.HasField(name) else None


def _whole(message: Message, name: str) -> int:
    value = value_of(message, name)
    assert isinstance(value, int)
    return value


def _number(message: Message, name: str) -> float:
    value = value_of(message, name)
    assert isinstance(value, int | float)
    return float(value)


def _text(message: Message, name: str) -> str:
    value = value_of(message, name)
    assert isinstance(value, str)
    return value


def _flag(message: Message, name: str) -> bool:
    value = value_of(message, name)
    assert isinstance(value, bool)
    return value
