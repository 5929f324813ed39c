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
    assert serving.process is not None
    with tempfile.NamedTemporaryFile("r") as summary:
        pids = [word for pid in serving.process.family() for word in ("-p", str(pid))]
        command = ["taskset", "-c", str(LOAD), tool("strace"), "-f", "-c", "-o", summary.name, *pids]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as strace:
            assert strace.stderr is not None
            if b"attached" not in (word := strace.stderr.readline()):
                raise OSError(word.decode())
            sample = drive(replace(load, count=load.count * times), serving.tcp, None)
            strace.send_signal(signal.SIGINT)
            strace.stderr.read()
        return _read(Path(summary.name).read_text()), sample.units


def _counted(serving: Serving, load: Load, times: int) -> tuple[dict[str, int], int]:
    assert serving.process is not None
    events = ",".join((ALL, *(f"syscalls:sys_enter_{kind}" for kind in KINDS)))
    pids = ",".join(map(str, serving.process.family()))
    command = [
        "taskset",
        "-c",
        str(LOAD),
        tool("perf", "linux-perf"),
        "stat",
        "-x,",
        "-e",
        events,
        "-p",
        pids,
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as perf:
        assert perf.stderr is not None
        sleep(ATTACHING)  # perf does not tell when it has begun; it fails at once where it may not count
        if perf.poll() is not None:
            raise OSError(perf.stderr.read().strip().splitlines()[0])
        sample = drive(replace(load, count=load.count * times), serving.tcp, None)
        perf.send_signal(signal.SIGINT)
        rows = [line.split(",") for line in perf.stderr.read().splitlines()]
    counts = {row[2].removeprefix("syscalls:sys_enter_"): int(row[0]) for row in rows if row[0].isdigit()}
    counts["others"] = 2 * counts[ALL] - sum(counts.values())
    del counts[ALL]
    return counts, sample.units


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
