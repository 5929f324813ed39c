"""Envoy with one worker, retries and outlier detection, which are what an LLM's clients would want of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from bench.load.peers.base import Kind, Serving, Setting
from bench.load.peers.install import ENVOY, environment
from bench.load.process import running
from bench.load.tools import CONTENDER, Missing

TYPE = "type.googleapis.com/envoy.extensions"


def _binary() -> Path:
    for found in environment(ENVOY).glob("lib/python*/site-packages/envoy/_bin/envoy"):
        return found
    raise Missing(f"{ENVOY} holds no envoy")


@contextmanager
def envoy(at: Setting) -> Iterator[Serving]:
    config = at.folder / "envoy.yaml"
    config.write_text(yaml.safe_dump(_config(at)))
    command = [_binary(), "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    with running(command, core=CONTENDER, ready=at.ready, log=at.folder / "log") as process:
        yield at.served_by(process)


def _config(at: Setting) -> dict[str, Any]:
    addresses = [
        {"socket_address": {"address": "127.0.0.1", "port_value": at.port}},
        {"pipe": {"path": str(at.socket)}},
    ]
    return {
        "static_resources": {
            "listeners": [
                {"name": f"app{number}", "address": address, "filter_chains": [{"filters": [_http(at)]}]}
                for number, address in enumerate(addresses)
            ],
            "clusters": [_cluster(at)],
        }
    }


def _http(at: Setting) -> dict[str, Any]:
    retry: dict[str, Any] = {"retry_on": "5xx,reset,connect-failure", "num_retries": 2}
    if at.kind is Kind.FALLBACK:
        retry["retry_priority"] = {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {
                "@type": f"{TYPE}.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                "update_frequency": 1,
            },
        }
        retry["retry_back_off"] = {"base_interval": "0.001s", "max_interval": "0.001s"}
    route = {"cluster": "llm", "timeout": "0s", "retry_policy": retry}
    return {
        "name": "http",
        "typed_config": {
            "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "app",
            "route_config": {
                "virtual_hosts": [
                    {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}
                ]
            },
            "http_filters": [
                {
                    "name": "router",
                    "typed_config": {"@type": f"{TYPE}.filters.http.router.v3.Router"},
                }
            ],
        },
    }


def _cluster(at: Setting) -> dict[str, Any]:
    outliers: dict[str, Any] = {"consecutive_5xx": 5, "interval": "1s", "base_ejection_time": "30s"}
    targets = [int(at.target.rpartition(":")[2])]
    if at.kind is Kind.FALLBACK:
        outliers = {"enforcing_consecutive_5xx": 0, "enforcing_success_rate": 0}
        targets.insert(0, at.upstream.failing)
    groups = [
        {
            "priority": priority,
            "lb_endpoints": [
                {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
            ],
        }
        for priority, port in enumerate(targets)
    ]
    cluster: dict[str, Any] = {
        "name": "llm",
        "type": "STATIC",
        "connect_timeout": "5s",
        "outlier_detection": outliers,
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": 8192,
                    "max_requests": 8192,
                    "max_pending_requests": 8192,
                    "max_retries": 8192,
                }
            ]
        },
        "load_assignment": {"cluster_name": "llm", "endpoints": groups},
    }
    if at.kind is Kind.TLS:
        cluster["transport_socket"] = {
            "name": "tls",
            "typed_config": {
                "@type": f"{TYPE}.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": "localhost",
                "common_tls_context": {
                    "validation_context": {"trusted_ca": {"filename": str(at.upstream.ca)}}
                },
            },
        }
    return cluster
