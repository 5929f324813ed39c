"""What /api/policy answers: the policy in force, every default filled in, as JSON-ready data.

In:      the running snapshot.
Out:     a mapping of the words of the config file; see `policy_view`.
Units:   `*_seconds` seconds; percentages 0..100.
Secrets: of a credential the page learns where it comes from, never what it is; of header fields that the policy
         sets, the names, for people put keys there too.
"""

from __future__ import annotations

from sidecar.frozen import as_dict
from sidecar.policy.snapshot import ActiveHealth, AdaptiveConcurrency, Credential, Route, Service, Snapshot


def policy_view(snapshot: Snapshot) -> dict[str, object]:
    return {
        "generation": snapshot.generation,
        "services": [_service(service) for service in snapshot.services.values()],
        "routes": [_route(route) for route in snapshot.routes],
    }


def _service(service: Service) -> dict[str, object]:
    url, adaptive = service.url, service.adaptive_concurrency
    return {
        "name": service.name,
        "url": f"{url.scheme}://{url.authority}{url.path}",
        "endpoints": [str(address) for address in service.endpoints],
        "dialect": service.dialect,
        "model": service.model,
        "models": dict(service.models or {}),
        "credentials": [_credential(credential) for credential in service.credentials],
        "headers_set": [name for name, _ in service.set_headers],
        "headers_removed": sorted(service.remove_headers),
        "first_packet_is": service.first_packet_is,
        "timeouts_seconds": as_dict(service.timeouts),
        "passive_health": as_dict(service.passive_health),
        "active_health": None if service.active_health is None else _active(service.active_health),
        "load_balancing": service.load_balancing,
        "hash_on": as_dict(service.hash_on),
        "weights": dict(service.weights or {}),
        "max_concurrency": service.max_concurrency,
        "queue": None if service.queue is None else as_dict(service.queue),
        "rate_limit": [as_dict(limit) for limit in service.rate_limit],
        "adaptive_concurrency": None if adaptive is None else _adaptive(adaptive),
        "limits_bytes": as_dict(service.limits),
        "insecure_skip_verify": service.tls.insecure_skip_verify,
    }


def _route(route: Route) -> dict[str, object]:
    return {
        "name": route.name,
        "path_prefix": route.path_prefix,
        "models": list(route.models),
        "headers": [name for name, _ in route.headers],
        "services": list(route.services),
        "fallback_on": sorted(route.fallback_on),
        "max_attempts": route.max_attempts,
        "retries_per_service": route.retries_per_service,
        "deadline_seconds": route.deadline,
        "wait_for_retry_after_seconds": route.wait_for_retry_after,
        "retry_budget": as_dict(route.retry_budget),
        "commit": route.commit,
        "cut_last": route.cut_last,
        "hedge": None if route.hedge is None else as_dict(route.hedge),
        "rate_limit": [as_dict(limit) for limit in route.rate_limit],
    }


def _active(active: ActiveHealth) -> dict[str, object]:
    """Without the body of an inference, which is the operator's own text."""
    shown = as_dict(active)
    shown["request"] = None if active.request is None else active.request.path
    return shown


def _adaptive(adaptive: AdaptiveConcurrency) -> dict[str, object]:
    metrics = adaptive.queue_metrics
    return {**as_dict(adaptive), "queue_metrics": None if metrics is None else as_dict(metrics)}


def _credential(credential: Credential) -> str:
    secret = credential.secret
    if secret.literal is not None:
        source = "the policy itself (hidden)"
    else:
        source = f"${secret.env}" if secret.env else f"file {secret.file}"
    return f"{credential.header} from {source}"
