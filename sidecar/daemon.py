"""The composition root: builds the parts, introduces them to each other, starts, applies policy, drains, stops.

In:      a checked config, and the path it came from.
Out:     the running sidecar; `ready` once every socket accepts.
Errors:  StartRefused, with everything that keeps it from starting, before anything is half up.
Rule:    the only module that knows all rooms; it decides nothing about requests.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, Any

from sidecar.admin.facts import Installed, Rejected
from sidecar.admin.hub import EventHub
from sidecar.admin.outcomes import Invalid
from sidecar.admin.policies import PolicyManager
from sidecar.admin.tls import tls_problems
from sidecar.downstream.connection import AppConnection
from sidecar.downstream.listener import AppSide, Listener
from sidecar.exchange.clocks import Clocks
from sidecar.exchange.exchange import Exchange
from sidecar.exchange.runtime import Shared
from sidecar.health.events import HealthEvent
from sidecar.health.ledger import EndpointStatus, Ledger
from sidecar.in_force import InForce
from sidecar.instruments import Instruments, Sources
from sidecar.listening import listen, remove_sockets
from sidecar.policy import load
from sidecar.policy.build import build_settings
from sidecar.policy.problems import Problem
from sidecar.policy.snapshot import Settings, Snapshot
from sidecar.probe.waker import Waker
from sidecar.record import RequestRecord
from sidecar.telemetry.changes import Changes, Fields
from sidecar.telemetry.sinks import Told, ToldOfFallbacks
from sidecar.terms import Address, UnixAddress
from sidecar.upstream.needs import missing
from sidecar.watching import FileWatch

if TYPE_CHECKING:
    from llmsidecar.v1.config_pb2 import Config
    from llmsidecar.v1.policy_pb2 import Policy

    from sidecar.admin.server import AdminServer
    from sidecar.admin.store import PolicyStore
    from sidecar.ops.server import OpsServer


class StartRefused(Exception):
    """What keeps the daemon from starting, all of it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = list(problems)


class Daemon:
    """One sidecar. `start`, then `run_until_stopped`; `request_stop` from anywhere on the loop ends it."""

    def __init__(
        self,
        config: Config,
        *,
        path: str | None = None,
        text: bytes = b"",
        log_fd: int | None = 1,
        listeners: Sequence[Callable[[Fields], None]] = (),
        sinks: Sequence[Callable[[RequestRecord], None]] = (),
    ) -> None:
        """`path` and `text`: the file to watch and what it held. `log_fd` None: no log lines. `listeners` hear every
        change of state, `sinks` every finished request."""
        self._config = config
        self._settings: Settings = build_settings(config)
        self._loop = loop = asyncio.get_running_loop()
        rng = Random(os.urandom(16))
        self._ledger = Ledger(rng)
        self._hub = EventHub(
            self._ledger.statuses, cooling=self._ledger.cooling, policy_told=self._policy_told
        )
        self._instruments = Instruments(
            self._settings,
            loop,
            log_fd=log_fd,
            listeners=listeners,
            sinks=[ToldOfFallbacks(self._hub.request_finished), *map(Told, sinks)],
        )
        self._shared = Shared(
            loop=loop,
            ledger=self._ledger,
            rng=rng,
            clocks=Clocks(loop),
            sink=self._instruments.sinks,
            attempts=self._hub.attempts,
            health_events=self._health_events,
            sample_ratio=self._instruments.sampler.ratio,
            app_samples=self._instruments.sampler.asks_app,
        )
        self._in_force = InForce(self._shared, self._health_events)
        self._side = AppSide(self._shared, self._settings.limits)
        self._waker = Waker(self._ledger, self._health_events, loop)
        self.policies = PolicyManager(self._install, self._hub, self._store(), also_check=missing)
        self._watch: FileWatch | None = None
        if path is not None:
            self._watch = FileWatch(loop, path, text, self._file_changed, self._file_unreadable)
        self._servers: list[asyncio.AbstractServer] = []
        self._admin: AdminServer | None = None
        self._ops: OpsServer | None = None
        self._stopping = asyncio.Event()
        self._at_once = asyncio.Event()
        self._tasks: set[asyncio.Task[object]] = set()
        self.ready = False
        self.listen: list[Address] = []
        self.admin_listen: list[str] = []
        self.ops_listen: list[Address] = []

    def _store(self) -> PolicyStore | None:
        if not self._settings.state_dir:
            return None
        from sidecar.admin.store import PolicyStore

        return PolicyStore(self._settings.state_dir)

    # -- start ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Binds every address and puts the policy into force; raises StartRefused and leaves nothing behind."""
        if self._settings.admin_tls is not None and (problems := tls_problems(self._settings.admin_tls)):
            raise StartRefused(problems)
        outcome = await self.policies.start(self._config.policy)
        if isinstance(outcome, Invalid):
            raise StartRefused(outcome.problems)
        await self._in_force.first_answers()
        try:
            await self._bind()
        except OSError as error:
            await self._release()
            raise StartRefused([Problem("", f"cannot listen: {error.strerror or error}")]) from error
        self._instruments.start()
        if self._watch is not None:
            self._watch.start()
        self.ready = True

    @property
    def ready_line(self) -> str:
        """What `sidecar run` prints once every socket accepts."""

        def joined(addresses: Sequence[object]) -> str:
            return ",".join(map(str, addresses)) or "off"

        return (
            f"ready listen={joined(self.listen)} admin={joined(self.admin_listen)} "
            f"ops={joined(self.ops_listen)}"
        )

    async def _bind(self) -> None:
        settings = self._settings
        hosts = frozenset(host.strip("[]").lower() for host in settings.hosts)
        origins = frozenset(settings.allowed_origins)
        doors = []
        for address in settings.listen:
            over_tcp = not isinstance(address, UnixAddress)
            door = Listener(self._side, over_tcp=over_tcp, hosts=hosts, origins=origins)
            doors.append((address, lambda door=door: AppConnection(door)))
        self._servers, self.listen = await listen(self._loop, doors, settings.socket_mode)
        if settings.admin_listen:
            from sidecar.admin.server import AdminServer

            self._admin = AdminServer(
                settings.admin_listen,
                policies=self.policies,
                hub=self._hub,
                ledger=self._ledger,
                health_events=self._health_events,
                tls=settings.admin_tls,
            )
            self.admin_listen = await self._admin.start()
        if settings.ops_listen:
            self._ops = self._instruments.ops_server(self._sources())
            self.ops_listen = await self._ops.start()

    # -- what the rooms tell and ask each other ------------------------------------------------------------------

    @property
    def changes(self) -> Changes:
        """Tells every listener of a change of state."""
        return self._instruments.changes

    def _health_events(self, events: Sequence[HealthEvent]) -> None:
        self._hub.publish_health(events)
        self._instruments.health_events(events)
        self._waker.rearm()

    def _install(self, snapshot: Snapshot, policy: Policy) -> None:
        self._in_force.install(snapshot)
        self._side.heads.forget()  # what is memorized with them names services of the policy before
        self._shared.response_heads.forget()

    def _policy_told(self, fact: Installed | Rejected) -> None:
        match fact:
            case Installed():
                self.changes.state(
                    "policy_applied", generation=fact.generation, source=fact.source, comment=fact.comment
                )
            case Rejected():
                self.changes.state("policy_rejected", source=fact.source, problems=[*map(str, fact.problems)])

    def _sources(self) -> Sources:
        return Sources(
            not_ready=self._not_ready,
            statuses=self._statuses,
            cooling=self._ledger.cooling,
            active_requests=self._in_force.active_requests,
            snapshot=self._in_force.snapshot,
            events_dropped=lambda: self._hub.missed,
            policies_rejected=lambda: self._hub.rejections,
            retries_refused=self._in_force.retries_refused,
        )

    def _statuses(self) -> list[EndpointStatus]:
        return self._ledger.statuses(monotonic())

    def _not_ready(self) -> str | None:
        if self._side.draining:
            return "draining"
        return None if self.ready else "starting"

    # -- the config file -------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """SIGHUP: reads the file again, changed or not."""
        if self._watch is not None and not self._stopping.is_set():
            self._watch.look(force=True)

    def _file_changed(self, text: bytes) -> None:
        if self._stopping.is_set():
            return  # requests that are let end keep the policy they have
        loaded = load(text)
        if loaded.problems:
            self.policies.rejected("file", [*loaded.problems, *missing(loaded.config.policy, loaded.lines)])
            return
        settings = build_settings(loaded.config)
        if settings != self._settings:
            self.changes.state(
                "restart_needed", reason="settings outside `policy` changed; they need a restart"
            )
        self._spawn(self.policies.apply(loaded.config.policy, "file"))

    def _file_unreadable(self, why: str) -> None:
        self.policies.rejected("file", [Problem("", why)])

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- stop ----------------------------------------------------------------------------------------------------

    def request_stop(self) -> None:
        """A signal: the first drains, a second ends at once."""
        if self._stopping.is_set():
            self._at_once.set()
        self._stopping.set()

    async def run_until_stopped(self) -> None:
        """Serves until request_stop, then drains and stops."""
        await self._stopping.wait()
        await self._drain()
        await self._release()

    async def _drain(self) -> None:
        self.changes.state("draining", in_flight=len(self._shared.exchanges))
        self._stop_listening()
        self._side.drain()
        if self._admin is not None:
            await self._admin.drain()
        deadline = monotonic() + self._settings.drain_timeout
        while self._side.connections and monotonic() < deadline and not self._at_once.is_set():
            try:
                await asyncio.wait_for(self._at_once.wait(), 0.02)
            except TimeoutError:
                continue
        for exchange in list(self._shared.exchanges):
            assert isinstance(exchange, Exchange)
            exchange.stop()
        await asyncio.sleep(0)  # what they have written goes out at the end of the loop's turn

    def _stop_listening(self) -> None:
        """The socket files go at once: later they may be those of the process that comes after this one."""
        if self._servers:
            for server in self._servers:
                server.close()
            self._servers.clear()
            remove_sockets(map(str, self.listen))

    async def _release(self) -> None:
        """Gives everything back; what was never started is passed over."""
        self.ready = False
        self._stop_listening()
        for task in list(self._tasks):
            task.cancel()
        for connection in list(self._side.connections):
            connection.end()
        if self._watch is not None:
            self._watch.stop()
        self._waker.stop()
        await self._in_force.stop()
        await self._instruments.flush()
        if self._ops is not None:
            await self._ops.stop()
        if self._admin is not None:
            await self._admin.stop(0.2)
        await self.policies.close()
        self._in_force.close()
        remove_sockets((*self.admin_listen, *map(str, self.ops_listen)))
        self.changes.state("stopped")
        self._instruments.close()


def start_up_log() -> None:
    """What the libraries and rooms say beside the JSON lines goes to stderr, from warnings on."""
    logging.basicConfig(
        level=logging.WARNING, format="sidecar: %(levelname)s: %(message)s", stream=sys.stderr
    )
