"""Start-up: from the start of the process to the end of the first answer, with warm file caches.

Out:     the time, and the CPU used until then, which others on the core do not stretch.
Units:   milliseconds.
"""

from __future__ import annotations

from statistics import median
from typing import Any, NamedTuple

from bench.load.driver import FirstAnswer
from bench.load.peers import PEERS, Kind, Setting
from bench.load.rounds import Told, field

STARTED = ("sidecar-bare", "sidecar", "sidecar-all", "nginx", "haproxy", "envoy", "litellm")
SLOW = "litellm"


class Start(NamedTuple):
    took: float
    cpu: float


def startup(names: list[str], rounds: int, told: Told) -> dict[str, Any]:
    starts: dict[str, list[Start]] = {name: [] for name in names}
    with field() as at:
        for number in range(rounds + 1):  # the first one warms the caches and does not count
            for name in names:
                if name == SLOW and number > 1:
                    continue
                told(f"startup: {name}, {number} of {rounds}")
                starts[name].append(_start(name, at.setting(name, Kind.PLAIN)))
    return {name: _figures(all_of_them[1:]) for name, all_of_them in starts.items()}


def _start(name: str, setting: Setting) -> Start:
    first = FirstAnswer(f"127.0.0.1:{setting.port}")
    with PEERS[name].serve(setting) as serving:
        assert serving.process is not None
        took = first.at() - serving.process.started_at
        used = serving.process.cpu(serving.process.family())
        return Start(took * 1e3, used.total * 1e3)


def _figures(starts: list[Start]) -> dict[str, float]:
    times = [start.took for start in starts]
    cpu = median(start.cpu for start in starts)
    return {"median": median(times), "min": min(times), "max": max(times), "cpu": cpu}


def show(found: dict[str, Any]) -> str:
    lines = ["startup: ms from the start of the process to its first answer"]
    for name, of in found.items():
        spread = f"({of['min']:.0f} to {of['max']:.0f})"
        lines.append(f"  {name:14}{of['median']:8.0f}   {spread}, {of['cpu']:.0f} of CPU")
    return "\n".join(lines)
