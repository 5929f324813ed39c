"""The soak: minutes of mixed and broken traffic, then everything must be back where it was.

In:      `--minutes` (or $SOAK_MINUTES, 10), `--apps` at once, `--seed`. A real daemon as a process of its own, scripted
         LLM services and apps in this one: hang-ups, broken streams, retries, stalls, slow readers, nonsense.
Out:     a line after each round, taken at rest: file descriptors, sockets, memory, tasks, requests in flight.
Exit:    0: after the last round there are as many file descriptors and tasks as after the warm-up, nothing is in
         flight and memory has not grown by more than GROWTH; 1: else, or the daemon died or logged an error.
Limits:  Linux: the figures are those of /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import monotonic

import httpx

from bench.misbehaviour import ANSWERS, MANNERS, Line, Script
from tests.daemon.llm import CHAT, Llm, json_answer, stream
from tests.daemon.process import Process, running

WARM_UP = 30.0
ROUND = 60.0
SETTLED = 15.0  # at most, from the last app's end to rest
GROWTH = 8 * 1024 * 1024
_ACTIVE = re.compile(r"^sidecar_active_requests\{.*\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Figures:
    """The daemon at rest."""

    descriptors: int
    sockets: int
    memory: int
    active: float
    tasks: int  # of its event loop

    def __str__(self) -> str:
        memory = f"{self.memory / 1024 / 1024:.1f} MiB"
        files = f"{self.descriptors} fds ({self.sockets} sockets)"
        return f"{files}, {memory}, {self.tasks} tasks, {self.active:g} in flight"


class Traffic:
    """Apps that come and go; counts what they saw."""

    def __init__(self, process: Process, scripts: tuple[Script, ...], seed: int, apps: int) -> None:
        self._addresses = process.listen
        self._scripts = scripts
        self._rngs = [Random(f"{seed} {app}") for app in range(apps)]
        self.answers = 0
        self.statuses: Counter[int] = Counter()
        self.manners: Counter[str] = Counter()
        self.broken = 0

    async def go_on(self, seconds: float) -> None:
        until = monotonic() + seconds
        await asyncio.gather(*(self._app(rng, until) for rng in self._rngs))
        for script in self._scripts:  # else the daemon would rightly keep idle connections for a minute
            script.hang_up()

    async def _app(self, rng: Random, until: float) -> None:
        while monotonic() < until:
            manner = rng.choices(list(MANNERS), list(MANNERS.values()))[0]
            line = await self._connect(rng)
            try:
                await manner(line, rng)
            except (ConnectionError, asyncio.IncompleteReadError):
                self.broken += 1  # as it must be, where the service broke after the commit
            finally:
                line.writer.transport.abort() if rng.random() < 0.3 else line.writer.close()
            self.manners[manner.__name__] += 1
            self.answers += line.answers
            self.statuses.update(line.statuses)

    async def _connect(self, rng: Random) -> Line:
        address = rng.choice(self._addresses)
        if address.startswith("unix:"):
            return Line(*await asyncio.open_unix_connection(address.removeprefix("unix:")))
        host, _, port = address.rpartition(":")
        return Line(*await asyncio.open_connection(host, int(port)))


def config(folder: Path, primary: Llm, fallback: Llm) -> dict[str, object]:
    quick = {"base_ejection_time": "1s", "max_ejection_time": "3s", "ramp": "1s"}
    timeouts = {"connect": "1s", "first_packet": "300ms", "idle": "1s", "response": "2s"}
    return {
        "listen": [f"unix:{folder}/llm.sock", "127.0.0.1:0"],
        "admin": {"listen": [f"unix:{folder}/admin.sock"]},
        "ops": {"listen": ["127.0.0.1:0"]},
        "limits": {"head_timeout": "2s", "body_idle_timeout": "2s", "write_timeout": "5s"},
        "telemetry": {"access_log": False},
        "policy": {
            "services": [
                {"name": "primary", "url": primary.url, "passive_health": quick, "timeouts": timeouts},
                {"name": "fallback", "url": fallback.url},
            ],
            "routes": [{"services": ["primary", "fallback"]}],
        },
    }


def look(process: Process) -> Figures:
    folder = Path(f"/proc/{process.pid}")
    links = []
    for entry in os.listdir(folder / "fd"):
        try:
            links.append(os.readlink(folder / "fd" / entry))
        except FileNotFoundError:  # closed since it was listed
            continue
    memory = 1024 * int((folder / "status").read_text().split("VmRSS:")[1].split()[0])
    metrics = httpx.get(f"http://{process.ops[0]}/metrics", trust_env=False, timeout=10).text
    active = sum(float(value) for value in _ACTIVE.findall(metrics))
    state = httpx.get(f"http://{process.ops[0]}/api/state", trust_env=False, timeout=10).json()
    sockets = sum(link.startswith("socket:") for link in links)
    return Figures(len(links), sockets, memory, active, state["tasks"])


async def at_rest(process: Process, wanted: int | None) -> Figures:
    """Once there are as many descriptors as wanted, or no fewer from one look to a later one."""
    give_up = monotonic() + SETTLED
    while True:
        figures = await asyncio.to_thread(look, process)
        if monotonic() > give_up or (figures.descriptors == wanted and not figures.active):
            return figures
        await asyncio.sleep(0.5)


async def soak(folder: Path, minutes: float, apps: int, seed: int) -> int:
    rng = Random(seed)
    good = {stream("from", " the", " fallback"): 2, json_answer(CHAT): 1}
    scripts = Script(rng, ANSWERS), Script(rng, good)
    async with Llm(scripts[0]) as primary, Llm(scripts[1]) as fallback:
        with running(config(folder, primary, fallback), folder) as process:
            traffic = Traffic(process, scripts, seed, apps)
            forgetting = asyncio.ensure_future(_forget(primary, fallback))
            try:
                return await _rounds(process, traffic, minutes)
            finally:
                forgetting.cancel()


async def _rounds(process: Process, traffic: Traffic, minutes: float) -> int:
    print(f"before anything: {await asyncio.to_thread(look, process)}", flush=True)
    await traffic.go_on(min(WARM_UP, minutes * 60 / 4))
    first = await at_rest(process, None)
    print(f"after the warm-up: {first}", flush=True)
    ends = monotonic() + minutes * 60
    last, number = first, 0
    while (left := ends - monotonic()) > 0:
        number += 1
        await traffic.go_on(min(ROUND, left))
        last = await at_rest(process, first.descriptors)
        print(f"after round {number}: {last}; {traffic.answers} answers, {traffic.broken} broken", flush=True)
    print(f"answers by status: {dict(sorted(traffic.statuses.items()))}")
    print(f"apps by manner: {dict(sorted(traffic.manners.items()))}")
    return _judge(process, first, last)


def _judge(process: Process, first: Figures, last: Figures) -> int:
    problems = [line for line in process.stderr if not line.startswith("ready ")]
    if last.descriptors != first.descriptors:
        problems.append(f"{last.descriptors - first.descriptors:+} file descriptors")
    if last.tasks != first.tasks:
        problems.append(f"{last.tasks - first.tasks:+} tasks")
    if last.active:
        problems.append(f"{last.active:g} requests still in flight")
    if last.memory - first.memory > GROWTH:
        problems.append(f"memory grew by {(last.memory - first.memory) / 1024 / 1024:.1f} MiB")
    if not process.alive:
        problems.append("the daemon is gone")
    print("\n".join(problems) or "everything is back where it was")
    return 1 if problems else 0


async def _forget(*services: Llm) -> None:
    """What was received is of no use here, and would be all the memory there is."""
    while True:
        await asyncio.sleep(1)
        for service in services:
            del service.received[:-200]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("SOAK_MINUTES") or 10))
    parser.add_argument("--apps", type=int, default=24, help="at once (24)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(f"seed {given.seed}, {given.apps} apps, {given.minutes:g} minutes", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        return asyncio.run(soak(Path(folder), given.minutes, given.apps, given.seed))


if __name__ == "__main__":
    sys.exit(main())
