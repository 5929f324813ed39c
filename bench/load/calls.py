"""System calls a request and a chunk, counted by strace, and of 200 streams by perf.

They are the same on every machine, but for how many events one epoll finds: strace's streams are 50, as it slows the
daemon down and a daemon that lags finds several chunks in one read. perf slows nobody down, but only root may count so.

Rule:    each load is run short and long, and the difference is divided: what connections cost to open drops out.
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import sleep
from typing import Any

from bench.load.driver import Load, drive
from bench.load.peers import Kind, Serving
from bench.load.rounds import Field, Told
from bench.load.tools import LOAD, Missing, tool

Counts = dict[str, float]

Counting = Callable[[Serving, Load, int], tuple[dict[str, int], int]]

SHORT, LONG = 1, 3
ATTACHING = 0.5
COUNTED = {
    "request": Load(connections=64, count=2000, warm=0.0),
    "chunk": Load(connections=50, stream=True, interval=20_000, chunks=100, count=50, warm=0.0),
}
STREAMED = "chunk of 200 streams"
STREAMS = Load(connections=200, stream=True, interval=20_000, chunks=100, count=200, warm=0.0)
ALL = "raw_syscalls:sys_enter"
KINDS = (
    *("read", "write", "readv", "writev", "recvfrom", "sendto", "epoll_wait", "epoll_pwait"),
    *("clock_nanosleep", "clock_gettime", "futex"),
)


def calls(at: Field, names: list[str], told: Told) -> dict[str, dict[str, Counts]]:
    found = {}
    for name in names:
        told(f"system calls of {name}")
        serving = at.serving(name, Kind.PLAIN)
        found[name] = {unit: calls_of(serving, load) for unit, load in COUNTED.items()}
        try:
            found[name][STREAMED] = _difference(serving, STREAMS, _counted)
        except (Missing, OSError) as error:
            told(f"{STREAMED}: not counted: {error}")
    return found


def calls_of(serving: Serving, load: Load) -> Counts:
    """Of every kind, a unit of the load."""
    return _difference(serving, load, _traced)


def _difference(serving: Serving, load: Load, counting: Counting) -> Counts:
    short, few = counting(serving, load, SHORT)
    long, many = counting(serving, load, LONG)
    each = {name: (count - short.get(name, 0)) / (many - few) for name, count in long.items()}
    return {name: count for name, count in each.items() if count > 0.001}


def total(of: Counts) -> float:
    return sum(of.values())


def _traced(serving: Serving, load: Load, times: int) -> tuple[dict[str, int], int]:
    def wait_for(strace: subprocess.Popen[str]) -> None:
        assert strace.stderr is not None
        if "attached" not in (word := strace.stderr.readline()):
            raise OSError(word)

    with tempfile.NamedTemporaryFile("r") as summary:
        pids = [word for pid in _pids(serving) for word in ("-p", pid)]
        _, units = _watched(
            [tool("strace"), "-f", "-c", "-o", summary.name, *pids], wait_for, serving, load, times
        )
        return _read(Path(summary.name).read_text()), units


def _counted(serving: Serving, load: Load, times: int) -> tuple[dict[str, int], int]:
    def wait_for(perf: subprocess.Popen[str]) -> None:
        sleep(ATTACHING)  # it does not tell when it has begun; it fails at once where it may not count
        if perf.poll() is not None:
            assert perf.stderr is not None
            raise OSError(perf.stderr.read().strip().splitlines()[0])

    events = ",".join((ALL, *(f"syscalls:sys_enter_{kind}" for kind in KINDS)))
    command = [tool("perf", "linux-perf"), "stat", "-x,", "-e", events, "-p", ",".join(_pids(serving))]
    said, units = _watched(command, wait_for, serving, load, times)
    rows = [line.split(",") for line in said.splitlines()]
    counts = {row[2].removeprefix("syscalls:sys_enter_"): int(row[0]) for row in rows if row[0].isdigit()}
    counts["others"] = 2 * counts[ALL] - sum(counts.values())
    del counts[ALL]
    return counts, units


def _pids(serving: Serving) -> list[str]:
    assert serving.process is not None
    return [str(pid) for pid in serving.process.family()]


def _watched(
    watcher: list[str],
    wait_for: Callable[[subprocess.Popen[str]], None],
    serving: Serving,
    load: Load,
    times: int,
) -> tuple[str, int]:
    """What the watcher said at its end, and the units of the load that was driven meanwhile."""
    command = ["taskset", "-c", str(LOAD), *watcher]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        wait_for(process)
        sample = drive(replace(load, count=load.count * times), serving.tcp, None)
        process.send_signal(signal.SIGINT)
        return process.stderr.read(), sample.units


def _read(summary: str) -> dict[str, int]:
    """The lines of strace's table: share, seconds, us a call, calls, perhaps errors, name."""
    rows = [line.split() for line in summary.splitlines()]
    counts = {row[-1]: int(row[3]) for row in rows if len(row) >= 5 and row[3].isdigit()}
    counts.pop("total", None)
    return counts


def show(found: dict[str, Any]) -> str:
    lines = [f"system calls, by strace, those a {STREAMED} by perf"]
    for name, units in found.items():
        for unit, of in units.items():
            most = sorted(of.items(), key=lambda one: -one[1])[:5]
            told = ", ".join(f"{call} {count:.2f}" for call, count in most)
            lines.append(f"  {name:14}{total(of):6.2f} a {unit}: {told}")
    return "\n".join(lines)
