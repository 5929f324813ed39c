"""Runs scenes under valgrind's callgrind, which counts machine instructions: the same at each run, whatever else the
machine does.

Out:     what callgrind wrote of each scene's plays, as text.
Errors:  Missing, OSError: valgrind is not here, or may not look.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.load.tools import ROOT, tool

# Slow only from when it is told to count: nobody wants to know what the start of a daemon is made of.
COUNTING = ("--tool=callgrind", "--instr-atstart=no")


def counted(
    times: int, names: Sequence[str], *, plain: bool, options: tuple[str, ...] = ()
) -> dict[str, str]:
    """By scene."""
    with tempfile.TemporaryDirectory(prefix="guard-") as folder:
        out = Path(folder, "out")
        command = [tool("valgrind"), *COUNTING, *options, f"--callgrind-out-file={out}", sys.executable]
        command += ["-m", "bench.guard.played", *(["--plain"] if plain else []), str(times), *names]
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        ) as played:
            for _ in names:
                _when_it_waits(played, "--instr=on")
                _when_it_waits(played, "--instr=off", "--dump")
        return {name: Path(f"{out}.{number}").read_text() for number, name in enumerate(names, 1)}


def _when_it_waits(played: subprocess.Popen[str], *orders: str) -> None:
    assert played.stdin is not None
    assert played.stdout is not None
    assert played.stderr is not None
    if not played.stdout.readline():
        raise OSError(played.stderr.read()[-2000:])
    for order in orders:
        control = [tool("callgrind_control", "valgrind"), order, str(played.pid)]
        done = subprocess.run(control, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(done.stdout + done.stderr)
    played.stdin.write("\n")
