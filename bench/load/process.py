"""A process with a core of its own, and what the kernel says it has used.

In:      a command; it may also be one that starts children (nginx).
Out:     cpu() and memory(), from /proc, of the process and its children.
Units:   seconds, bytes.
Source:  schedstat counts nanoseconds of every thread that lives; where the kernel has none, stat counts hundredths.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

PROC = Path("/proc")
TICK = 1.0 / os.sysconf("SC_CLK_TCK")
KIB = 1024
COMPILED = {
    "PYTHONDONTWRITEBYTECODE": ""
}  # else each start would compile anew what an installed one has compiled


class Died(Exception):
    """A process ended, or never got ready; the text has its last words."""


class Cpu(NamedTuple):
    """Used so far."""

    total: float
    user: float
    switches: int  # given up the core by itself: it waited

    def since(self, before: Cpu) -> Cpu:
        return Cpu(self.total - before.total, self.user - before.user, self.switches - before.switches)


def core_busy(core: int) -> float:
    """Seconds that a core has been busy for anybody, or was taken from this machine by its host."""
    for line in (PROC / "stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _, _, irq, soft, steal = (int(tick) for tick in ticks[:8])
            return (user + nice + system + irq + soft + steal) * TICK
    raise Died(f"core {core} is gone")


class Memory(NamedTuple):
    resident: int  # what `ps` and the kubelet call it, shared pages of the libraries included
    proportional: int  # shared pages divided by those who share them
    own: int


class Process:
    """A running one; found by pid, ended by pid."""

    def __init__(self, popen: subprocess.Popen[bytes], started_at: float) -> None:
        self.popen = popen
        self.started_at = started_at  # monotonic

    @property
    def pid(self) -> int:
        return self.popen.pid

    def family(self) -> list[int]:
        """The process and its children, of whatever depth."""
        parents = {pid: parent for pid in _all_pids() if (parent := _parent(pid)) is not None}
        family = [self.pid]
        for one in family:
            family += [pid for pid, parent in parents.items() if parent == one]
        return family

    def rest(self) -> None:
        """It gets no core until it is woken, whatever it still thinks it has to do."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.family():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def cpu(self, family: Sequence[int]) -> Cpu:
        parts = [_cpu(pid) for pid in family]
        return Cpu(sum(p.total for p in parts), sum(p.user for p in parts), sum(p.switches for p in parts))

    def memory(self, family: Sequence[int]) -> Memory:
        parts = [_memory(pid) for pid in family]
        return Memory(
            sum(p.resident for p in parts), sum(p.proportional for p in parts), sum(p.own for p in parts)
        )


@contextmanager
def running(
    command: Sequence[object],
    *,
    core: int,
    ready: Callable[[], bool] = lambda: True,
    within: float = 60.0,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = None,
) -> Iterator[Process]:
    """Runs until the block ends, on one core. Its stderr, and its stdout unless that is taken, go to `log`."""
    with open(log or os.devnull, "wb") as told:
        started_at = time.monotonic()
        popen = subprocess.Popen(
            ["taskset", "-c", str(core), *map(str, command)],
            stdin=stdin,
            stdout=told if stdout is None else stdout,
            stderr=told,
            env={**os.environ, **COMPILED, **(env or {})},
        )
    process = Process(popen, started_at)
    try:
        _wait(process, ready, within, log)
        yield process
    finally:
        process.wake()  # who rests does not hear that it is to end
        stop(popen)


def stop(popen: subprocess.Popen[bytes]) -> None:
    popen.terminate()
    try:
        popen.wait(10)
    except subprocess.TimeoutExpired:
        popen.kill()
        popen.wait()
    for pipe in (popen.stdin, popen.stdout, popen.stderr):
        if pipe is not None:
            pipe.close()


def _wait(process: Process, ready: Callable[[], bool], within: float, log: Path | None) -> None:
    deadline = time.monotonic() + within
    while not ready():
        ended = process.popen.poll() is not None
        if ended or time.monotonic() > deadline:
            words = log.read_text(errors="replace")[-2000:] if log is not None else ""
            raise Died(f"{process.popen.args!r} {'ended' if ended else 'is not ready'}: {words}")
        time.sleep(0.02)


def _all_pids() -> list[int]:
    return [int(entry) for entry in os.listdir(PROC) if entry.isdigit()]


def _parent(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name; none when it has ended."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _cpu(pid: int) -> Cpu:
    fields = _stat(pid)
    user, system = int(fields[11]) * TICK, int(fields[12]) * TICK
    total, switches = 0.0, 0
    for task in (PROC / str(pid) / "task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0]) / 1e9
            status = (task / "status").read_text()
        except FileNotFoundError:
            continue
        switches += int(status.rpartition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return Cpu(total or user + system, user, switches)


def _memory(pid: int) -> Memory:
    sizes = {}
    for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        sizes[name] = int(rest.split()[0]) * KIB
    return Memory(sizes["Rss"], sizes["Pss"], sizes["Private_Clean"] + sizes["Private_Dirty"])
