"""What a contender costs when nothing happens, and what it keeps of what happened.

Out:     CPU and wake-ups while idle, all contenders in the same seconds; memory then, with 1000 idle connections, and
         after an hour's worth of requests: 36 000 (ten a second), one in ten of them a stream.
Units:   CPU microseconds a second; MiB resident (shared pages of libraries included), and proportional to sharers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from bench.load.driver import Driving, Load, drive
from bench.load.peers import PEERS, Kind, Serving
from bench.load.rounds import Field, Told, field
from bench.load.tables import columns

STANDING = ("sidecar-bare", "sidecar", "sidecar-all", "nginx", "haproxy", "envoy", "litellm")
HOURLY = ("sidecar-bare", "sidecar-all", "haproxy", "envoy")
CONNECTIONS = Load(connections=1000, rate=4000, seconds=1.0, warm=0.0)
WHOLE = Load(connections=64, unique=True, body=2048, answer=2048, count=32_400, warm=0.0)
STREAMS = Load(connections=100, stream=True, interval=1000, chunks=40, count=3600, warm=0.0)
SETTLE, MIB = 1.0, 1024 * 1024


def standing(names: Sequence[str], told: Told, *, idle_seconds: float, hour: bool) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    with field() as at, ExitStack() as stack:
        serving = {name: stack.enter_context(_untouched(at, name)) for name in names}
        told(f"standing: all idle for {idle_seconds:g} s")
        time.sleep(SETTLE)
        before = {name: _cpu(one) for name, one in serving.items()}
        time.sleep(idle_seconds)
        for name, one in serving.items():
            used = _cpu(one).since(before[name])
            found[name]["idle_us"] = used.total * 1e6 / idle_seconds
            found[name]["wakeups"] = used.switches / idle_seconds
            found[name]["idle"] = _memory(one)
        for name, one in serving.items():
            told(f"standing: {name} with 1000 connections")
            found[name]["connected"] = _connected(one, lenient=PEERS[name].lenient)
            if hour and name in HOURLY:
                told(f"standing: {name} after an hour's worth of requests")
                found[name]["hour"] = _after_an_hour(one)
    return found


def _untouched(at: Field, name: str) -> Any:
    return PEERS[name].serve(at.setting(name, Kind.PLAIN))


def _cpu(serving: Serving) -> Any:
    assert serving.process is not None
    return serving.process.cpu(serving.process.family())


def _memory(serving: Serving) -> dict[str, float]:
    assert serving.process is not None
    taken = serving.process.memory(serving.process.family())
    return {name: size / MIB for name, size in taken._asdict().items()}


def _connected(serving: Serving, *, lenient: bool) -> dict[str, float]:
    driving = Driving(CONNECTIONS, serving.tcp, lenient=lenient, held=True)
    try:
        driving.wait_for("begin")
        driving.wait_for("end")
        driving.seen()
        time.sleep(SETTLE)
        return _memory(serving)
    finally:
        driving.stop()


def _after_an_hour(serving: Serving) -> dict[str, float]:
    for load in (WHOLE, STREAMS):
        sample = drive(load, serving.tcp, serving.process)
        assert not sample.wrong, sample.seen
    time.sleep(SETTLE)
    return _memory(serving)


def show(found: dict[str, Any]) -> str:
    rows = [["", "CPU us/s", "wakes/s", "idle", "connected", "after"]]
    for name, of in found.items():
        sizes = [_mib(of.get(when)) for when in ("idle", "connected", "hour")]
        rows.append([name, f"{of['idle_us']:.0f}", f"{of['wakeups']:.1f}", *sizes])
    heading = "standing: CPU and wake-ups a second while idle; MiB resident (proportional to sharers): idle, with 1000"
    return "\n".join([heading, "idle connections, after 36 000 requests", *columns(rows)])


def _mib(of: dict[str, float] | None) -> str:
    return f"{of['resident']:.1f} ({of['proportional']:.1f})" if of else "-"
