"""The sidecar, with more or less switched on.

bare     data path only: no admin API, no ops page, no access log, no traces
plain    admin API and ops page listen; no access log, no traces
log      plain, and a JSON line for every request into a pipe that is read
all      log, and traces of 1 % to a collector, /metrics scraped every second, an event watcher connected
traced   plain, and traces of every request to a collector
"""

from __future__ import annotations

import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.load.driver import Load
from bench.load.peers.base import Kind, Serving, Setting, accepts
from bench.load.process import Process, running
from bench.load.tools import CONTENDER, LOAD, free_ports, tool

# Streams teach the adaptive limit what the upstream can bear; requests without a stream teach it nothing.
LESSON = Load(connections=256, stream=True, interval=1000, chunks=20, seconds=0.3, warm=0.3)


@dataclass(frozen=True)
class Switches:
    served: bool = True  # the admin API and the ops page
    log: bool = False
    traced: float = 0.0  # share of plain successes
    watched: bool = False

    @classmethod
    def bare(cls) -> Switches:
        return cls(served=False)


SWITCHES = {
    "bare": Switches.bare(),
    "plain": Switches(),
    "log": Switches(log=True),
    "all": Switches(log=True, traced=0.01, watched=True),
    "traced": Switches(traced=1.0),
}


def variant(name: str) -> Callable[[Setting], Any]:
    @contextmanager
    def serve(at: Setting) -> Iterator[Serving]:
        with sidecar(at, SWITCHES[name]) as serving:
            yield serving

    return serve


@contextmanager
def sidecar(at: Setting, switches: Switches) -> Iterator[Serving]:
    ops, collector = free_ports(2)
    config = at.folder / "sidecar.yaml"
    config.write_text(yaml.safe_dump(make_config(at, switches, ops, collector)))
    with ExitStack() as stack:
        if switches.traced:
            stack.enter_context(_collector(collector, at.folder))
        process = stack.enter_context(daemon(config, at, drained=switches.log))
        if switches.watched:
            stack.enter_context(_watcher(at.folder))
            stack.enter_context(_scraper(ops))
        yield at.served_by(process)


def command(config: Path) -> list[str]:
    return [sys.executable, "-m", "sidecar", "run", "--config", str(config)]


def make_config(at: Setting, switches: Switches, ops: int, collector: int) -> dict[str, Any]:
    scheme = "https" if at.kind is Kind.TLS else "http"
    service: dict[str, Any] = {"url": f"{scheme}://{at.target}/v1"}
    if at.kind is Kind.TLS:
        service["tls"] = {"ca_file": str(at.upstream.ca), "server_name": "localhost"}
    services = [{"name": "first", **service}, {"name": "second", **service}]
    if at.kind is Kind.FALLBACK:  # fails for ever and is asked again for ever: ejected, it would cost nothing
        services[0]["url"] = f"http://127.0.0.1:{at.upstream.failing}/v1"
        services[0]["passive_health"] = {"enforce": False}
    telemetry: dict[str, Any] = {"access_log": switches.log}
    if switches.traced:
        telemetry |= {"otlp_endpoint": f"http://127.0.0.1:{collector}", "sample_ratio": switches.traced}
    route = {"services": ["first", "second"], "retries_per_service": 0 if at.kind is Kind.FALLBACK else 1}
    return {
        "listen": [f"unix:{at.socket}", f"127.0.0.1:{at.port}"],
        "admin": {"listen": [f"unix:{at.folder}/admin.sock"]} if switches.served else {"enabled": False},
        "ops": {"listen": [f"127.0.0.1:{ops}"]} if switches.served else {"enabled": False},
        "telemetry": telemetry,
        "drain_timeout": "1s",
        "policy": {"services": services, "routes": [route]},
    }


@contextmanager
def daemon(config: Path, at: Setting, *, drained: bool) -> Iterator[Process]:
    """Its log lines go into a pipe, as they do in a pod, or nowhere."""
    with ExitStack() as stack:
        out: int = subprocess.DEVNULL
        if drained:
            reader = stack.enter_context(
                running([tool("cat")], core=LOAD, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            )
            assert reader.popen.stdin is not None
            out = reader.popen.stdin.fileno()
        yield stack.enter_context(
            running(
                command(config),
                core=CONTENDER,
                ready=at.ready,
                log=at.folder / "log",
                stdout=out,
            )
        )


@contextmanager
def _collector(port: int, folder: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "bench.load.collector", str(port)]
    with running(command, core=LOAD, ready=lambda: accepts(port), log=folder / "collector.log"):
        yield


@contextmanager
def _watcher(folder: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "sidecar", "events", "--json", "--admin", f"unix:{folder}/admin.sock"]
    events = folder / "events.log"
    with running(command, core=LOAD, ready=lambda: events.stat().st_size > 0, log=events):
        yield


@contextmanager
def _scraper(port: int) -> Iterator[None]:
    """As Prometheus would, but every second."""
    over = threading.Event()

    def scrape() -> None:
        while not over.wait(1.0):
            with (
                suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer,
            ):
                answer.read()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
