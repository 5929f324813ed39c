"""Slow clients by the real slowhttptest, a good client beside them, and what the kernel knows of the daemon.

In:      the daemon's TCP address; slowhttptest on the PATH (Debian's package of that name).
Out:     a running attack; latencies of the good client in seconds; open connections and resident bytes.
Limits:  Linux: memory and connections are read from /proc.
Errors:  PeerMissing where slowhttptest is not there.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import httpx

from tests.itest.peers.install import PeerMissing

_ESTABLISHED, _CLOSE_WAIT = "01", "08"
_COUNTS = re.compile(r"(\w+):\s+(\d+)\s*$", re.MULTILINE)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def slowhttptest() -> Path:
    found = shutil.which("slowhttptest")
    if found is None:
        raise PeerMissing("slowhttptest is not installed (Debian: apt-get install slowhttptest)")
    return Path(found)


@contextmanager
def attack(tool: Path, url: str, mode: str, connections: int, *more: str) -> Iterator[subprocess.Popen[str]]:
    """`mode`: H slow heads, B slow bodies, X slow reading. Goes on until it ends by itself, or the block does."""
    settings = [f"-{mode}", "-c", str(connections), "-r", "100", "-p", "5", "-v", "1", *more]
    process = subprocess.Popen(
        [str(tool), *settings, "-u", url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def last_counts(process: subprocess.Popen[str]) -> dict[str, int]:
    """What an attack that has ended says of its connections: connected, error, closed, …"""
    said, _ = process.communicate(timeout=30)
    return {name: int(count) for name, count in _COUNTS.findall(_COLOURS.sub("", said))}


class GoodClient:
    """A client that asks one question after another over one connection, and times the answers."""

    def __init__(self, url: str, question: dict[str, object]) -> None:
        self._url = url
        self._question = question
        self._http = httpx.Client(trust_env=False, timeout=20)
        self.failures: list[str] = []

    def ask(self) -> float:
        began = monotonic()
        try:
            answer = self._http.post(self._url, json=self._question)
            if answer.status_code != 200 or "choices" not in answer.json():
                self.failures.append(f"{answer.status_code}: {answer.text[:200]}")
        except (httpx.HTTPError, ValueError) as error:
            self.failures.append(repr(error))
        return monotonic() - began

    def close(self) -> None:
        self._http.close()


def spread(seconds: list[float]) -> str:
    """Median, 95th percentile and worst, in milliseconds."""
    ordered = sorted(seconds)
    picks = ordered[len(ordered) // 2], ordered[len(ordered) * 95 // 100], ordered[-1]
    return "p50 {:.1f} ms, p95 {:.1f} ms, max {:.1f} ms".format(*(1000 * pick for pick in picks))


def resident(pid: int) -> int:
    """Bytes of memory that the process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.split("VmRSS:")[1].split()[0])


def open_connections(pid: int, port: int) -> int:
    """How many connections to its port the process has not closed."""
    rows = [row.split() for row in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    ours = [row for row in rows if int(row[1].split(":")[1], 16) == port]
    return sum(row[3] in (_ESTABLISHED, _CLOSE_WAIT) for row in ours)
