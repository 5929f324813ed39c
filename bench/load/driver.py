"""One load on one contender, and what came of it.

In:      a Load (what the apps do), an address, the process that serves it.
Out:     a Sample: what the apps saw, and what the process used meanwhile, by its own account.
Units:   microseconds for times seen by apps, seconds for the rest.
Errors:  Died, when the load could not be run.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from bench.load.process import Cpu, Died, Process, core_busy
from bench.load.tools import CONTENDER, LOAD, build

STUCK = 60.0  # seconds; a load that takes so much longer than it should never ends


@dataclass(frozen=True)
class Load:
    """What the apps do. `interval`: microseconds between two events of a stream; `rate`: requests a second, whether
    answers come or not; `less`: microseconds that are taken off the times of first packets."""

    connections: int
    stream: bool = False
    interval: int = 0
    chunks: int = 200
    body: int = 0
    answer: int = 0
    rate: int = 0
    count: int = 0
    unique: bool = False
    less: int = 0
    model: str = "m"
    seconds: float = 1.5
    warm: float = 0.3

    def lasting(self, seconds: float) -> Load:
        return replace(self, seconds=seconds)

    def words(self, *, lenient: bool = False) -> list[str]:
        flags = {"--stream": self.stream, "--unique": self.unique, "--lenient": lenient}
        numbers = {
            "--connections": self.connections,
            "--interval": self.interval,
            "--chunks": self.chunks,
            "--body": self.body,
            "--answer": self.answer,
            "--rate": self.rate,
            "--count": self.count,
            "--less": self.less,
            "--ms": int(self.seconds * 1000),
            "--warm-ms": int(self.warm * 1000),
        }
        words = [word for name, number in numbers.items() for word in (name, str(number))]
        return [*words, "--model", self.model, *(flag for flag, on in flags.items() if on)]


class Sample(NamedTuple):
    """One measured window."""

    seen: dict[str, Any]  # by the apps
    cpu: Cpu | None  # None: nobody stood between
    others: float  # share of the contender's core that somebody else had: a figure taken beside it is a doubtful one

    @property
    def units(self) -> int:
        """Chunks of streams, or whole requests."""
        return int(self.seen["chunks"] or self.seen["requests"])

    @property
    def wrong(self) -> int:
        return int(self.seen["wrong_status"] + self.seen["wrong_body"] + self.seen["lost"])

    @property
    def cost(self) -> float:
        """CPU microseconds a unit."""
        return self.cpu.total * 1e6 / self.units if self.cpu is not None and self.units else float("nan")

    @property
    def rate(self) -> float:
        return self.units / float(self.seen["seconds"])


class Driving:
    """A load on its way, on the load's core; `held` ones keep their connections open until `stop`."""

    def __init__(self, load: Load, to: str, *, lenient: bool = False, held: bool = False) -> None:
        words = [*load.words(lenient=lenient), *(["--hold"] if held else [])]
        self._command = ["taskset", "-c", str(LOAD), str(build("load")), "--to", to, *words]
        self._popen = subprocess.Popen(self._command, stdout=subprocess.PIPE, stdin=subprocess.PIPE)
        self._limit = threading.Timer(load.warm + load.seconds + STUCK, self._popen.kill)
        self._limit.daemon = True
        self._limit.start()

    def wait_for(self, word: str) -> None:
        """`begin` or `end` of the measured time."""
        if self._line() != f"{word}\n":
            raise Died(f"{' '.join(self._command)} ended early or was stuck")

    def seen(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._line())
        return found

    def stop(self) -> None:
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.close()
        self._popen.wait()
        self._limit.cancel()
        self._popen.stdout.close()

    def _line(self) -> str:
        assert self._popen.stdout is not None
        return self._popen.stdout.readline().decode()


def drive(
    load: Load, to: str, process: Process | None, *, lenient: bool = False, linger: float = 0.0
) -> Sample:
    """Runs the load to its end; its apps hang up on what is unanswered `linger` seconds later."""
    family = process.family() if process is not None else []
    driving = Driving(load, to, lenient=lenient, held=linger > 0.0)
    try:
        accounts = []
        for word in ("begin", "end"):
            driving.wait_for(word)
            accounts.append((process.cpu(family) if process is not None else None, core_busy(CONTENDER)))
        seen = driving.seen()
        time.sleep(linger)
    finally:
        driving.stop()
    (before, busy_before), (after, busy_after) = accounts
    busy = busy_after - busy_before
    if before is None or after is None:
        return Sample(seen, None, busy / seen["seconds"])
    cpu = after.since(before)
    return Sample(seen, cpu, max(0.0, busy - cpu.total) / seen["seconds"])


class FirstAnswer:
    """Tries an address from before anybody serves there; `at` is when the first answer came, in monotonic seconds."""

    def __init__(self, to: str) -> None:
        command = ["taskset", "-c", str(LOAD), str(build("load")), "--to", to, "--first"]
        self._popen = subprocess.Popen(command, stdout=subprocess.PIPE)

    def at(self) -> float:
        told, _ = self._popen.communicate(timeout=120)
        return float(json.loads(told)["served_at"])
