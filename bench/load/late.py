"""The first-packet timer, measured from outside at the sockets.

A silent service is asked 50 times a second for a stream, with a first-packet timeout of 200 ms and a fallback that
answers at once; beside it the daemon is idle, or relays small JSON at 70 % of what it can do.

Out:     from the app's asking: when the silent service saw its connection go, and when the app had its first event from
         the fallback; both less the 200 ms.
Units:   milliseconds. Below zero would be a request given up early.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import yaml

from bench.load.driver import Driving, Load, drive
from bench.load.peers import Kind, Serving
from bench.load.peers.base import Setting
from bench.load.peers.sidecar import LESSON, Switches, daemon, make_config
from bench.load.rounds import Told, field
from bench.load.tables import columns

TIMEOUT = 200.0
LATE = Load(
    connections=64, stream=True, interval=100, chunks=4, rate=50, model="late", less=200_000, warm=0.0
)
BUSY = Load(connections=64)
SHARE = 0.7


def late(seconds: float, told: Told) -> dict[str, Any]:
    return {name: _measure(share, seconds, told) for name, share in (("idle", 0.0), ("at 70 %", SHARE))}


def _measure(share: float, seconds: float, told: Told) -> dict[str, Any]:
    with field() as at:
        setting = at.setting("sidecar", Kind.PLAIN)
        config = setting.folder / "sidecar.yaml"
        config.write_text(yaml.safe_dump(_config(setting)))
        with ExitStack() as stack:
            serving = setting.served_by(stack.enter_context(daemon(config, setting, drained=False)))
            drive(LESSON, serving.tcp, serving.process)
            rate = _background(serving, share) if share else 0
            told(f"first packet: {seconds:g} s beside {rate} requests a second")
            if rate:
                beside = Driving(Load(connections=64, rate=rate, seconds=seconds + 2.0), serving.tcp)
                stack.callback(beside.stop)
                beside.wait_for("begin")
            sample = drive(LATE.lasting(seconds), serving.tcp, serving.process, linger=0.5)
        assert not sample.wrong, sample.seen
    app, cut = sample.seen["first_packet_us"], at.upstream.told["cut_ms"]
    return {
        "requests_a_second": rate,
        "core": sample.cpu.total / sample.seen["seconds"] if sample.cpu is not None else 0.0,
        "given_up": {part: cut[part] - TIMEOUT for part in ("min", "p50", "p99", "max")},
        "answered": {part: app[part] / 1e3 for part in ("min", "p50", "p99", "max")},
        "count": app["count"],
        "others": sample.others,
    }


def _background(serving: Serving, share: float) -> int:
    most = drive(BUSY.lasting(1.0), serving.tcp, serving.process)
    return int(share * most.rate)


def _config(setting: Setting) -> dict[str, Any]:
    config = make_config(setting, Switches(), ops=0, collector=0)
    silent = {
        "name": "silent",
        "url": f"http://127.0.0.1:{setting.upstream.silent}/v1",
        "timeouts": {"first_packet": f"{TIMEOUT:g}ms"},
        "passive_health": {"enforce": False},
        "adaptive_concurrency": {"enabled": False},
    }
    policy = config["policy"]
    policy["services"].append(silent)
    policy["routes"].insert(0, {"match": {"models": ["late"]}, "services": ["silent", "second"]})
    return config


def show(found: dict[str, Any]) -> str:
    parts = ("min", "p50", "p99", "max")
    rows = [["", "core", "others", "", *parts, "count"]]
    for name, of in found.items():
        for what in ("given_up", "answered"):
            times = [f"{of[what][part]:.2f}" for part in parts]
            load = [f"{of['core']:.0%}", f"{of['others']:.0%}"]
            rows.append([name, *load, what.replace("_", " "), *times, str(of["count"])])
    heading = f"first packet: ms beyond the timeout of {TIMEOUT:g} ms, counted from the app's asking"
    return "\n".join([heading, *columns(rows)])
