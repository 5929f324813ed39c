"""Our own daemons, in this process, each with a socket of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench.surge.case import Case, Contender
from bench.surge.contenders.standing import Services, Standing
from sidecar.daemon import Daemon
from sidecar.demo.config import FALLBACK, PRIMARY
from sidecar.demo.gpu import GpuSpec
from sidecar.policy import load
from sidecar.terms import UnixAddress

CONFIG = """\
listen: ["unix:{folder}/llm.sock"]
admin: {{enabled: false}}
ops: {{enabled: false}}
drain_timeout: 1s
policy:
  services:
    - name: {primary}
      url: http://{primary_at}/v1
      timeouts: {{connect: 1s, first_packet: 200ms}}
      passive_health: {passive}
      adaptive_concurrency: {{enabled: {adaptive}}}
{limit}    - {{name: {fallback}, url: "http://{fallback_at}/v1"}}
  routes:
    - services: [{primary}, {fallback}]
"""
LIMIT = "      max_concurrency: {slots}\n"
REFERENCE = "{base_ejection_time: 30s}"
# The reference scenario judges each interval by itself.
REFERENCE_EJECTING = "{base_ejection_time: 30s, window: 1s}"
# As docs/behaviour.md says for a server of one's own that is started again when it dies.
QUICK_RETURN = "{base_ejection_time: 1s, max_ejection_time: 1s, ramp: 3s}"


@asynccontextmanager
async def sidecars(
    case: Case, folder: Path, services: Services, ejected: Callable[[], None]
) -> AsyncIterator[Standing]:
    def heard(change: dict[str, object]) -> None:
        if change["event"] == "endpoint_ejected":
            ejected()

    adaptive = case.contender is not Contender.SIDECAR_EJECTING
    async with AsyncExitStack() as stack:
        daemons: list[Daemon] = []
        for number in range(case.sidecars):
            at = folder / str(number)
            at.mkdir()
            loaded = load(_config(case, at, services, adaptive=adaptive).encode())
            assert not loaded.problems, loaded.problems
            daemon = Daemon(loaded.config, log_fd=None, listeners=[heard])
            daemons.append(await stack.enter_async_context(_running(daemon)))
        listen = [UnixAddress(str(folder / str(number) / "llm.sock")) for number in range(case.sidecars)]
        yield Standing(listen, lambda: sum(map(_limit, daemons)) if adaptive else None)


@asynccontextmanager
async def _running(daemon: Daemon) -> AsyncIterator[Daemon]:
    await daemon.start()
    try:
        yield daemon
    finally:
        daemon.request_stop()
        await daemon.run_until_stopped()


def _config(case: Case, folder: Path, services: Services, *, adaptive: bool) -> str:
    reference = REFERENCE if adaptive else REFERENCE_EJECTING
    return CONFIG.format(
        folder=folder,
        primary=PRIMARY,
        fallback=FALLBACK,
        primary_at=services.primary,
        fallback_at=services.fallback,
        adaptive=str(adaptive).lower(),
        limit=LIMIT.format(slots=GpuSpec().slots) if case.contender is Contender.SIDECAR_LIMITED else "",
        passive=QUICK_RETURN if case.quick_return else reference,
    )


def _limit(daemon: Daemon) -> float:
    statuses = daemon._statuses()  # what /api and the admin API show, without their sockets
    return sum(s.concurrency_limit or 0.0 for s in statuses if s.service == PRIMARY)
