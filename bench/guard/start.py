"""What a start of the bare data path loads: `sidecar run` itself, with Python's own report of every import.

Out:     the modules loaded until the ready line, in order; the threads that run then; as a figure to compare.
Rule:    counts, not times and not bytes: the same on every machine that has the same locked libraries.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import yaml

from bench.guard.kept import Table

# Two figures, for compiled code does not import what only its types come from.
PLAIN, COMPILED = "start, bare", "start, bare, compiled"
CONFIG = {
    "listen": ["127.0.0.1:0"],
    "admin": {"enabled": False},
    "ops": {"enabled": False},
    "telemetry": {"access_log": False},
    "policy": {
        "services": [{"name": name, "url": "http://127.0.0.1:9/v1"} for name in ("a", "b")],
        "routes": [{"services": ["a", "b"]}],
    },
}
_LINE = re.compile(r"import time: +[0-9]+ \| +[0-9]+ \| +(\S+)")


class Start(NamedTuple):
    modules: list[str]
    threads: int


def start() -> Start:
    """Starts a daemon, looks at it, ends it."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "sidecar.yaml")
        config.write_text(yaml.safe_dump(CONFIG))
        command = [sys.executable, "-X", "importtime", "-m", "sidecar", "run", "--config", str(config)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        with process:
            told = []
            for line in process.stderr:
                told.append(line)
                if line.startswith("ready "):
                    break
            else:
                raise AssertionError("".join(told[-20:]))
            threads = len(list(Path(f"/proc/{process.pid}/task").iterdir()))
            process.send_signal(signal.SIGTERM)
            process.stderr.read()
    return Start([found[1] for line in told if (found := _LINE.match(line))], threads)


def count() -> Table:
    return figures(start())


def figures(started: Start) -> Table:
    compiled = "sidecar__mypyc" in started.modules
    return {COMPILED if compiled else PLAIN: {"modules": len(started.modules)}}
