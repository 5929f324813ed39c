"""Who may stand between the apps and the two services; each as somebody who knows it well would set it up.

In:      a Case, a folder of its own, where the services are, whom to tell of an ejection (our own daemons only).
Out:     where the apps ask, for as long as the `async with` block lasts.
Errors:  PeerMissing: a peer is not there and cannot be had.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from bench.surge.case import Case, Contender
from bench.surge.contenders.envoy import envoy
from bench.surge.contenders.haproxy import haproxy
from bench.surge.contenders.sidecars import sidecars
from bench.surge.contenders.standing import Services, Standing
from sidecar.demo.config import PRIMARY

__all__ = ["Services", "Standing", "contender"]


@asynccontextmanager
async def contender(
    case: Case, folder: Path, services: Services, ejected: Callable[[], None]
) -> AsyncIterator[Standing]:
    match case.contender:
        case Contender.DIRECT:
            yield Standing([services.primary], unnamed=PRIMARY)
        case Contender.ENVOY | Contender.ENVOY_IDLE:
            async with envoy(case, folder, services) as standing:
                yield standing
        case Contender.HAPROXY | Contender.HAPROXY_MAXCONN:
            async with haproxy(case, folder, services) as standing:
                yield standing
        case Contender.SIDECAR | Contender.SIDECAR_LIMITED | Contender.SIDECAR_EJECTING:
            async with sidecars(case, folder, services, ejected) as standing:
                yield standing
