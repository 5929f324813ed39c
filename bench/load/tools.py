"""What the benchmark needs of the machine: two cores, a C compiler, free ports.

Out:     CONTENDER and LOAD, the cores: whoever is measured has one for itself, everything else shares the other.
Errors:  Missing, with the remedy.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "bench"
SOURCES = Path(__file__).parent / "c"
CORES = sorted(os.sched_getaffinity(0))
LOAD, CONTENDER = CORES[0], CORES[-1]


class Missing(Exception):
    """Something cannot be measured here; the text has the remedy."""


def need_two_cores() -> None:
    if LOAD == CONTENDER:
        raise Missing("the benchmark needs two cores: one for who is measured, one for the load")


def tool(name: str, package: str | None = None) -> str:
    for folder in (None, "/usr/sbin"):
        if found := shutil.which(name, path=folder):
            return found
    raise Missing(f"{name} is not here: apt-get install {package or name}")


def build(name: str) -> Path:
    """The C program of that name, compiled again when its source is newer."""
    program, source = BUILD / name, SOURCES / f"{name}.c"
    newest = max(part.stat().st_mtime for part in (source, *SOURCES.glob("*.h")))
    if not program.exists() or program.stat().st_mtime < newest:
        BUILD.mkdir(parents=True, exist_ok=True)
        command = [tool("cc", "gcc"), "-std=c11", "-O2", "-Wall", "-o", str(program), str(source), "-lm"]
        subprocess.run(command, check=True)
    return program


def free_ports(count: int) -> list[int]:
    """All different: each socket is kept until the last one has its port."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()
