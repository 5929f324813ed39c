"""What the machine gives the daemon: descriptors, a folder for its state, secret files that only it can read."""

from __future__ import annotations

import os
import re
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

from llmsidecar.v1.policy_pb2 import Policy

from sidecar.cli.checkup.finding import Finding, fail, ok, warn
from sidecar.policy import secrets_of

# Each app connection may have one to a service; the rest is listeners, admin, ops, DNS, telemetry, idle connections.
A_CONNECTION, THE_REST = 2, 128

_OPEN_FILES = re.compile(r"^Max open files\s+(\d+|unlimited)", re.MULTILINE)


def look_at_limits(max_connections: int, pid: int | None) -> Iterator[Finding]:
    """Of the running daemon where it may be looked at, else of this shell."""
    wanted = A_CONNECTION * max_connections + THE_REST
    allowed, whose = _open_files(pid)
    told = f"{'any number of' if allowed is None else allowed} open files ({whose})"
    if allowed is None or allowed >= wanted:
        yield ok("limits", f"{told} are enough for max_connections {max_connections}")
    else:
        remedy = f"ulimit -n {wanted} (systemd: LimitNOFILE={wanted}), or a smaller limits.max_connections"
        yield warn("limits", f"{told}, {wanted} may be needed for max_connections {max_connections}", remedy)


def _open_files(pid: int | None) -> tuple[int | None, str]:
    if pid is not None:
        try:
            text = Path(f"/proc/{pid}/limits").read_text()
        except OSError:
            text = ""
        if (match := _OPEN_FILES.search(text)) is not None:
            return None if match[1] == "unlimited" else int(match[1]), f"daemon, pid {pid}"
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft, "of this shell"


def look_at_state(folder: str) -> Iterator[Finding]:
    if not folder:
        yield ok("state", "no state_dir: what the API changes is gone after a restart")
        return
    path = Path(folder)
    nearest = next(parent for parent in (path, *path.parents) if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        yield fail(
            "state", f"{nearest} may not be written", f"mkdir -p {path} and chown it to the daemon's user"
        )
        return
    space = os.statvfs(nearest)
    if space.f_bavail * space.f_frsize < 16 * 1024 * 1024:
        yield warn(
            "state",
            f"{nearest} has less than 16 MiB left",
            "make room: an update that cannot be stored is refused",
        )
    else:
        yield ok("state", f"{path} can be written")


def look_at_secret_files(policy: Policy) -> Iterator[Finding]:
    """Whether they are there and hold something is for `missing` to tell."""
    for where, secret in secrets_of(policy):
        if secret.WhichOneof("source") != "file":
            continue
        try:
            mode = stat.S_IMODE(os.stat(secret.file).st_mode)
        except OSError:
            continue
        if mode & stat.S_IROTH:
            remedy = f"chmod o-r {secret.file} (a Kubernetes volume: defaultMode: 0440)"
            yield warn("secrets", f"{where}: every user may read {secret.file}", remedy)
