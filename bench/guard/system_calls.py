"""System calls of a real daemon, by strace, as figures to compare.

Out:     `path`: all but waiting, the same wherever it is counted; `all`: waiting, too. How much one waiting finds
         depends on the moment, so that `all` has more slack.
Errors:  Missing, OSError: strace is not here or may not look; there is one core only.
"""

from __future__ import annotations

from bench.guard.kept import Table
from bench.load.calls import COUNTED, calls_of, total
from bench.load.peers import Kind
from bench.load.rounds import field
from bench.load.tools import need_two_cores

WAITING = ("epoll_wait", "epoll_pwait", "clock_nanosleep", "futex", "restart_syscall", "getpid")


def count() -> Table:
    need_two_cores()
    with field() as at:
        serving = at.serving("sidecar", Kind.PLAIN)
        units = {unit: calls_of(serving, load) for unit, load in COUNTED.items()}
    return {unit: {"path": _path(of), "all": round(total(of), 2)} for unit, of in units.items()}


def _path(of: dict[str, float]) -> float:
    return round(sum(count for name, count in of.items() if name not in WAITING), 2)
