"""Reads how many requests stand in the queue of an LLM server, so that the limit closes before the first is late.

In:      services with `adaptive_concurrency.queue_metrics`; their endpoints as the ledger lists them.
Out:     `Ledger.queue_length` for each answer. Where there is none the limit goes on by first packets alone.
Timing:  every `interval`, up to a fifth longer or shorter, so that many sidecars do not all look at one moment and all
         act on the same news.
Limits:  an answer of at most 4 MiB, within an interval and at least a second.
Source:  the servers' own names, in Prometheus text: vLLM `vllm:num_requests_waiting`, SGLang `sglang:num_queue_reqs`,
         llama.cpp `llamacpp:requests_deferred` (with --metrics). One line a model or rank, to be added up.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from random import Random

from sidecar.health.ledger import Ledger
from sidecar.policy.snapshot import QueueMetrics, Service, Snapshot
from sidecar.probe.http import ProbeFailed
from sidecar.probe.schedules import Schedules
from sidecar.terms import Address, EndpointKey, parse_address

log = logging.getLogger(__name__)

MOST = 4 * 1024 * 1024
JITTER = 0.2
NUMBER = rb"([0-9.eE+]+)"
WAITING = re.compile(
    rb"^(?:vllm:num_requests_waiting|sglang:num_queue_reqs|llamacpp:requests_deferred)"
    rb"(?:\{[^\n]*\})?[ \t]+" + NUMBER + rb"(?:[ \t]+[0-9]+)?[ \t]*\r?$",
    re.MULTILINE,
)

# Fetches a path of an endpoint, whole, or raises ProbeFailed; see sidecar.probe.http.
Fetch = Callable[[Service, Address, str], Awaitable[bytes]]


def waiting_in(text: bytes) -> int | None:
    """The requests in the queue; None: the text does not say."""
    found = WAITING.findall(text)
    try:
        return round(sum(map(float, found))) if found else None
    except (ValueError, OverflowError):
        return None


class QueueReader:
    """A task an endpoint."""

    def __init__(self, ledger: Ledger, fetch: Fetch, loop: asyncio.AbstractEventLoop, rng: Random) -> None:
        self._ledger = ledger
        self._fetch = fetch
        self._loop = loop
        self._rng = rng
        self._services: dict[str, Service] = {}
        self._schedules = Schedules("queue length", self._read_on, loop)

    def apply(self, snapshot: Snapshot) -> None:
        """Goes on under a new policy; call it after the ledger has been configured."""
        self._services = {n: s for n, s in snapshot.services.items() if _metrics_of(s) is not None}
        self.endpoints_changed()

    def endpoints_changed(self) -> None:
        self._schedules.keep({e.key for name in self._services for e in self._ledger.endpoints(name)})

    async def stop(self) -> None:
        self._services = {}
        await self._schedules.stop()

    async def _read_on(self, key: EndpointKey) -> None:
        address = parse_address(key.address)
        told = False
        while (service := self._services.get(key.service)) is not None:
            metrics = _metrics_of(service)
            assert metrics is not None
            await asyncio.sleep(metrics.interval * self._rng.uniform(1.0 - JITTER, 1.0 + JITTER))
            why = await self._read(service, metrics, key, address)
            if why and not told:
                log.warning("queue length of %s %s is not known: %s", key.service, key.address, why)
                told = True

    async def _read(self, service: Service, metrics: QueueMetrics, key: EndpointKey, address: Address) -> str:
        """Why it is not known; empty: it is, and has been told."""
        try:
            async with asyncio.timeout(max(1.0, metrics.interval)):
                text = await self._fetch(service, address, metrics.path)
        except TimeoutError:
            return "timeout"
        except ProbeFailed as failed:
            return str(failed)
        waiting = waiting_in(text)
        if waiting is None:
            return f"{metrics.path} names none of the metrics of vLLM, SGLang or llama.cpp"
        self._ledger.queue_length(key, waiting, self._loop.time())
        return ""


def _metrics_of(service: Service) -> QueueMetrics | None:
    adaptive = service.adaptive_concurrency
    return None if adaptive is None else adaptive.queue_metrics
