"""How a peer gets into the cache: built in a folder of its own, then renamed into place.

In:      a name, a version, and a function that builds one file in the empty folder it is given.
Out:     the path of the finished file. A new version or recipe is a new file, so a stale one is never used.
Limits:  a lock per name lets one process build while others wait; a build that was killed leaves a folder that the
         next one sweeps away, never a file that looks finished. The log of the last build stays beside it.
Errors:  PeerMissing, with the remedy: a tool is absent, or a step failed.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest


class PeerMissing(Exception):
    """A peer is not installed and cannot be built here; the text has the remedy."""


def require(peer: Callable[[], Path]) -> Path:
    """The peer's path; without it the calling test is skipped, or fails under CI."""
    try:
        return peer()
    except PeerMissing as missing:
        reason = str(missing)
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def built(name: str, version: str, build: Callable[[Path], Path], *, recipe: str = "") -> Path:
    root = Path(os.environ.get("SIDECAR_PEERS_DIR") or Path(__file__).parents[3] / ".peers").resolve()
    finished = root / f"{name}-{version}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"
    if finished.exists():
        return finished
    root.mkdir(parents=True, exist_ok=True)
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            for left_over in root.glob(f"{name}.building-*"):
                shutil.rmtree(left_over, ignore_errors=True)
            # A folder never used before: the compiler of a build that was killed may still write into the old one.
            _build(finished, Path(tempfile.mkdtemp(prefix=f"{name}.building-", dir=root)), build)
    return finished


def _build(finished: Path, work: Path, build: Callable[[Path], Path]) -> None:
    print(f"building {finished.name}; log: {_log(work)}", file=sys.stderr, flush=True)
    _log(work).unlink(missing_ok=True)
    try:
        build(work).rename(finished)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def need(name: str, *tools: str) -> None:
    if absent := [tool for tool in tools if not shutil.which(tool)]:
        raise PeerMissing(
            f"{name} needs {' and '.join(absent)} to be built: install that, then run `make peers`"
        )


def go(work: Path, *arguments: str, **extra: str) -> bytes:
    need(work.stem, "go")
    return run(work, "go", *arguments, extra={"CGO_ENABLED": "0", "GOWORK": "off", **extra})


def run(work: Path, *command: str, extra: Mapping[str, str] | None = None) -> bytes:
    """Run one step of a build at low priority and return what it printed; its stderr goes to the log."""
    with _log(work).open("ab+") as log:
        env = {**os.environ, **(extra or {})}
        step = subprocess.run(
            ["nice", *command], cwd=work, env=env, stdout=subprocess.PIPE, stderr=log, check=False
        )
        log.write(step.stdout)
        if step.returncode:
            log.seek(0)
            raise PeerMissing(f"{work.stem} cannot be built, see {_log(work)}: {last_lines(log.read())}")
    return step.stdout


def _log(work: Path) -> Path:
    return work.with_suffix(".log")


def last_lines(output: bytes) -> str:
    return " | ".join(output.decode(errors="replace").strip().split("\n")[-6:])
