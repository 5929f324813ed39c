"""The real core of a sidecar, driven by hand: apps and endpoints whose transports only remember.

In:      a policy; connections, bytes, ends and pauses of either side; invented time.
Out:     `seen`: whatever a transport was told, every record, log line, health event and exception, in order.
Rule:    everything that a connection or a record could show is in it, and nothing of one process alone (no address, no
         order of a set of objects).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from random import Random
from typing import Any

import yaml

from sidecar.downstream.connection import AppConnection
from sidecar.downstream.listener import AppSide, Listener
from sidecar.exchange.clocks import Clocks
from sidecar.exchange.runtime import Runtime, Shared
from sidecar.health.events import HealthEvent
from sidecar.health.ledger import Ledger
from sidecar.ops.series import Series
from sidecar.policy import load
from sidecar.policy.build import build_snapshot
from sidecar.policy.snapshot import Limits, Snapshot
from sidecar.record import AttemptRecord, Attempts, RequestRecord
from sidecar.telemetry.access_log import AccessLog
from sidecar.telemetry.exposition import Exposition, Gauges
from sidecar.telemetry.lines import Lines
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.output import Output
from sidecar.telemetry.sinks import Told
from sidecar.telemetry.walltime import WallTime
from tests.forms.invented import Loop
from tests.slots import slots_of

LIMITS = Limits(
    max_request_body=32 * 1024,
    max_header=4096,
    max_connections=6,
    head_timeout=5.0,
    body_idle_timeout=5.0,
    keepalive_timeout=20.0,
    write_timeout=5.0,
)


class Transport(asyncio.Transport):
    """Of one connection. `arriving`: what its other side has sent and nobody has read yet."""

    def __init__(self, stage: Stage, name: str, protocol: Any) -> None:
        super().__init__()
        self.name = name
        self.protocol = protocol
        self.arriving: deque[bytes] = deque()
        self.asked = False  # something was written since it last answered
        self.unsent = 0
        self.breaks = False  # the next write fails
        self.reading = True
        self.gone = False
        self._stage = stage
        self._closing = False

    def write(self, data: Any) -> None:
        self._stage.note(f"{self.name} write {bytes(data)!r}")
        if self.breaks:
            self.breaks = False
            raise RuntimeError("broken")
        self.asked = True

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._stage.note(f"{self.name} write_eof")

    def pause_reading(self) -> None:
        self._stage.note(f"{self.name} pause_reading")
        self.reading = False

    def resume_reading(self) -> None:
        self._stage.note(f"{self.name} resume_reading")
        self.reading = True

    def close(self) -> None:
        self._end("close")

    def abort(self) -> None:
        self._end("abort")

    def lose(self, error: Exception | None) -> None:
        """The loop tells it, once."""
        if not self.gone:
            self.gone = self._closing = True
            self._stage.call(self.protocol.connection_lost, error)

    def _end(self, how: str) -> None:
        self._stage.note(f"{self.name} {how}")
        if not self._closing:
            self._closing = True
            self._stage.loop.call_soon(self.lose, None)


class _Collector(Output):
    """Takes log lines as they are written."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note

    def write(self, data: bytes | bytearray | memoryview) -> int:
        taken = min(len(data), 3000)
        self._note(f"log {bytes(data[:taken])!r}")
        return taken

    def close(self) -> None: ...


class _Errors(logging.Handler):
    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        self._note(f"logged {record.getMessage()} {kind}")


@lru_cache(64)
def snapshot_of(policy: str, generation: int) -> Snapshot:
    """`policy` in YAML."""
    loaded = load(f"admin: {{enabled: false}}\npolicy: {policy}\n".encode())
    assert not loaded.problems, loaded.problems
    return build_snapshot(loaded.config.policy, generation)


class Stage:
    """One sidecar."""

    def __init__(self, loop: Loop, policy: dict[str, Any], seed: int) -> None:
        self.loop = loop
        self.seen: list[str] = []
        self.apps: list[Transport] = []
        self.endpoints: list[Transport] = []
        self.dials: deque[str] = deque()  # how the next ones end: open, refused, silent
        loop.dialled = self._dial
        loop.set_exception_handler(self._unhandled)
        self._errors = _Errors(self.note)
        logging.getLogger().addHandler(self._errors)
        self.rng = Random(seed)
        self.ledger = Ledger(self.rng)
        self.metrics, self.series = Metrics(), Series()
        self._lines = Lines(_Collector(self.note), loop)
        self._access_log = AccessLog(self._lines, WallTime())
        self.shared = Shared(
            loop=loop,
            ledger=self.ledger,
            rng=self.rng,
            clocks=Clocks(loop),
            sink=Told(self._request_finished),
            attempts=Attempts(self._attempt_finished, wanted=1),
            health_events=self._health_events,
            sample_ratio=0.5,
        )
        self._generation = 0
        self.install(policy)
        self.side = AppSide(self.shared, LIMITS)
        self.listener = Listener(
            self.side, over_tcp=True, hosts=frozenset({"localhost"}), origins=frozenset()
        )

    def note(self, what: str) -> None:
        self.seen.append(what)

    def call(self, what: Callable[..., Any], *args: Any) -> None:
        """As the loop would call it."""
        try:
            what(*args)
        except Exception as error:
            self.note(f"raised {type(error).__name__}")

    # -- what happens ----------------------------------------------------------------------------------------

    def install(self, policy: dict[str, Any]) -> None:
        self._generation += 1
        snapshot = snapshot_of(yaml.safe_dump(policy, default_flow_style=True), self._generation)
        new = Runtime(self.shared, snapshot)
        if self.shared.runtime is not None:
            new.take_over(self.shared.runtime)
        self.shared.runtime = new
        self._health_events(self.ledger.configure(snapshot.services, self.loop.time()))

    def connect(self) -> Transport:
        connection = AppConnection(self.listener)
        transport = Transport(self, f"app{len(self.apps)}", connection)
        self.apps.append(transport)
        self.call(connection.connection_made, transport)
        return transport

    def deliver(self, transport: Transport) -> None:
        """The next piece of what arrives."""
        if transport.arriving and transport.reading and not transport.is_closing():
            self.call(transport.protocol.data_received, transport.arriving.popleft())

    def eof(self, transport: Transport) -> None:
        """Its other side has ended; as both sides want it, the connection ends then."""
        if not transport.is_closing():
            self.call(transport.protocol.eof_received)
            transport.close()

    def turn(self) -> None:
        self.loop.turn()

    def drain(self) -> None:
        """Of all connections at once, in the order of a set."""
        begin = len(self.seen)
        self.side.drain()
        self.seen[begin:] = sorted(self.seen[begin:])

    def finish(self) -> list[str]:
        """Everybody leaves, everything that waits is due; then what is left is shown."""
        self.note(repr(self.series.read(self.loop.time())))
        for transport in (*self.apps, *self.endpoints):
            transport.lose(None)
        self.loop.run_for(700.0)
        self.note(f"in flight {len(self.shared.exchanges)} {len(self.side.connections)}")
        self.note(repr(self.ledger.statuses(self.loop.time())))
        self.seen += _exposed(self.metrics)
        for service in self.shared.in_force().services.values():
            service.close()
        logging.getLogger().removeHandler(self._errors)
        return self.seen

    # -- what it tells ------------------------------------------------------------------------------------------

    async def _dial(self, factory: Callable[[], Any], host: str, port: int) -> tuple[Any, Any]:
        how = self.dials.popleft() if self.dials else "open"
        self.note(f"dial {host}:{port} {how}")
        if how == "refused":
            raise ConnectionRefusedError(111, "Connection refused")
        if how == "silent":
            await self.loop.create_future()
        protocol = factory()
        transport = Transport(self, f"llm{len(self.endpoints)}", protocol)
        self.endpoints.append(transport)
        protocol.connection_made(transport)
        return transport, protocol

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.note(f"unhandled {type(context.get('exception')).__name__}")

    def _request_finished(self, record: RequestRecord) -> None:
        self.note(f"record {_told(record)}")
        for sink in (
            self._access_log.request_finished,
            self.metrics.request_finished,
            self.series.request_finished,
        ):
            self.call(sink, record)

    def _attempt_finished(self, record: RequestRecord, attempt: AttemptRecord) -> None:
        self.note(f"attempt {_told(attempt)}")

    def _health_events(self, events: Sequence[HealthEvent]) -> None:
        self.metrics.health_events(events)
        for event in events:
            self.note(f"event {event!r}")


def _told(record: RequestRecord | AttemptRecord) -> dict[str, object]:
    told: dict[str, object] = {}
    for name in sorted(slots_of(record)):
        value = getattr(record, name)
        if isinstance(value, AttemptRecord):
            value = value.number
        elif name == "attempts":
            value = len(value)
        told[name] = value
    return told


def _exposed(metrics: Metrics) -> list[str]:
    gauges = Gauges(
        statuses=tuple,
        active_requests=dict,
        policy_generation=lambda: 1,
        events_dropped=lambda: 0,
        loop_lag=lambda: 0.0,
    )
    text = Exposition(metrics, gauges).render()[0].decode()
    return [line for line in text.splitlines() if not line.startswith(("#", "process_"))]
