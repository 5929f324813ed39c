"""Everything that looks at requests and changes without taking part: log, metrics, traces, the ops page.

In:      finished requests, changes of state, health events; the settings that say what is wanted.
Out:     `sinks` and `changes`; the ops server, when it is asked for.
Rule:    what fails here is logged and stops nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from sidecar import __version__
from sidecar.frozen import Frozen
from sidecar.health.events import HealthEvent, ScopeCooled
from sidecar.health.ledger import EndpointStatus
from sidecar.policy.snapshot import Settings, Snapshot
from sidecar.record import Sink
from sidecar.telemetry import otlp
from sidecar.telemetry.access_log import AccessLog
from sidecar.telemetry.changes import Changes, Fields
from sidecar.telemetry.lines import Lines
from sidecar.telemetry.loop_lag import LoopLag
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.output import Output
from sidecar.telemetry.sampler import Sampler, sampler
from sidecar.telemetry.sinks import Sinks, ToldOfKept
from sidecar.telemetry.walltime import WallTime

if TYPE_CHECKING:
    from sidecar.ops.server import OpsServer
    from sidecar.telemetry.tracing import Tracing


class Sources(Frozen):
    """What the ops page and /metrics ask the rest of the sidecar for, at each request."""

    not_ready: Callable[[], str | None]
    statuses: Callable[[], Sequence[EndpointStatus]]
    cooling: Callable[[], Sequence[ScopeCooled]]
    active_requests: Callable[[], Mapping[str, int]]
    snapshot: Callable[[], Snapshot]
    events_dropped: Callable[[], int]
    policies_rejected: Callable[[], Mapping[str, int]]
    retries_refused: Callable[[], Mapping[str, int]]


class Instruments:
    """Built at once, started when the sidecar serves, stopped last."""

    def __init__(
        self,
        settings: Settings,
        loop: asyncio.AbstractEventLoop,
        *,
        log_fd: int | None,
        listeners: Sequence[Callable[[Fields], None]],
        sinks: Sequence[Sink],
    ) -> None:
        self._settings = settings
        self._loop = loop
        self.sinks = Sinks(sinks)
        self._wall_time = WallTime()
        self._metrics = Metrics()
        self._lag = LoopLag(loop)
        self._lines: Lines | None = None
        self._tracing: Tracing | None = None
        told = list(listeners)
        if log_fd is not None:
            self._lines = Lines(Output(log_fd), loop)
            access_log = AccessLog(self._lines, self._wall_time)
            told.append(access_log.change)
            if settings.access_log:
                self.sinks.add(access_log)
        if settings.ops_listen:
            from sidecar.ops.series import Series
            from sidecar.ops.state import RecentEvents

            self._series, self._recent = Series(), RecentEvents()
            self.sinks.add(self._metrics)
            self.sinks.add(self._series)
            told.append(self._recent.add)
        self.changes = Changes(self._wall_time, told)
        self.sampler: Sampler = sampler(
            settings.sample_ratio, os.environ, written=settings.sample_ratio_is_written
        )
        self._open_tracing()

    def health_events(self, events: Sequence[HealthEvent]) -> None:
        self._metrics.health_events(events)
        self.changes.health_events(events)

    def start(self) -> None:
        if self._tracing is not None:
            self._tracing.start()
        self._lag.start()

    async def flush(self) -> None:
        """Traces go out, for one second at most."""
        self._lag.stop()
        if self._tracing is not None:
            await self._tracing.stop(1.0)

    def close(self) -> None:
        """The last line has been written."""
        if self._lines is not None:
            self._lines.close()

    def ops_server(self, sources: Sources) -> OpsServer:
        """The page, /metrics and the probes; imported only when they are wanted."""
        from sidecar.ops.policy_view import policy_view
        from sidecar.ops.server import OpsServer
        from sidecar.ops.server import Sources as Answers
        from sidecar.ops.state import StateView
        from sidecar.telemetry.exposition import Exposition, Gauges

        gauges = Gauges(
            statuses=sources.statuses,
            active_requests=sources.active_requests,
            policy_generation=lambda: sources.snapshot().generation,
            events_dropped=sources.events_dropped,
            policies_rejected=sources.policies_rejected,
            retries_refused=sources.retries_refused,
            loop_lag=self._lag.worst,
            spans_dropped=lambda: self._tracing.dropped if self._tracing is not None else 0,
            log_lines_dropped=lambda: self._lines.dropped if self._lines is not None else 0,
        )
        view = StateView(
            version=__version__,
            started_at=monotonic(),
            tasks=lambda: len(asyncio.all_tasks(self._loop)),
            clock=monotonic,
            wall_time=self._wall_time.now,
            not_ready=sources.not_ready,
            policy_generation=lambda: sources.snapshot().generation,
            statuses=sources.statuses,
            cooling=sources.cooling,
            active_requests=sources.active_requests,
            series=self._series,
            events=self._recent,
        )
        answers = Answers(
            not_ready=sources.not_ready,
            metrics=Exposition(self._metrics, gauges).render,
            state=view.read,
            policy=lambda: policy_view(sources.snapshot()),
        )
        return OpsServer(
            self._settings.ops_listen,
            answers,
            hosts=self._settings.hosts,
            origins=self._settings.allowed_origins,
        )

    def _open_tracing(self) -> None:
        where = otlp.destination(self._settings.otlp_endpoint, os.environ)
        if not isinstance(where, otlp.Destination):
            if where.wanted:
                self.changes.state("traces_off", reason=where.why)
            return
        if self.sampler.ignored:
            self.changes.state("sampler_ignored", reason=self.sampler.ignored)
        from sidecar.telemetry.tracing import Tracing

        self._tracing = Tracing(
            where,
            version=__version__,
            loop=self._loop,
            report=lambda event, why: self.changes.state(event, reason=why),
        )
        self.sinks.add(ToldOfKept(self._tracing.request_finished))
        self._metrics.traces = True
