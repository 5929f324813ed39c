"""The daemon's own sockets: there, alive, with the mode they should have; and which process is behind them.

In:      the addresses of the config.
Out:     findings; the process id of the daemon where a Unix socket tells it.
Limits:  a connection is made and closed; the daemon sees one that sent nothing.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from sidecar.cli.checkup.finding import Finding, fail, ok, warn
from sidecar.policy.snapshot import Settings
from sidecar.terms import Address, TcpAddress, UnixAddress, is_loopback

PATIENCE = 2.0
OWNER_ONLY = 0o600
START = "start the daemon: sidecar run"


def look_at_listeners(settings: Settings) -> Iterator[Finding]:
    for address in settings.listen:
        yield _look(address, "app", settings.socket_mode)
    for address in settings.admin_listen:
        yield _look(address, "admin", OWNER_ONLY)
    for address in settings.ops_listen:
        yield _look(address, "ops", OWNER_ONLY)


def daemon_pid(addresses: Iterable[Address]) -> int | None:
    """Who listens on the first of the Unix sockets that is alive and may be opened."""
    for address in addresses:
        if isinstance(address, UnixAddress):
            try:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.settimeout(PATIENCE)
                    probe.connect(address.path)
                    told = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            except OSError:
                continue
            pid: int = struct.unpack("3i", told)[0]
            return pid or None  # 0: of another pid namespace
    return None


def _look(address: Address, side: str, mode: int) -> Finding:
    name = f"{side} {address}"
    if isinstance(address, TcpAddress):
        return _look_at_port(address, name)
    return _look_at_file(Path(address.path), name, mode)


def _look_at_port(address: TcpAddress, name: str) -> Finding:
    if address.port == 0:
        return ok("sockets", f"{name}: any free port; the ready line tells which")
    try:
        socket.create_connection(address, PATIENCE).close()
    except OSError as error:
        return warn("sockets", f"{name}: nobody listens ({error.strerror or error})", START)
    if not is_loopback(address):
        return warn(
            "sockets",
            f"{name}: other machines can reach it",
            "bind 127.0.0.1 or a Unix socket, unless allow_remote is meant",
        )
    return ok("sockets", f"{name}: somebody listens")


def _look_at_file(path: Path, name: str, mode: int) -> Finding:
    try:
        there = path.lstat().st_mode
    except FileNotFoundError:
        return _look_at_folder(path.parent, name)
    except OSError as error:
        return fail("sockets", f"{name}: {error.strerror}", f"let this user into {path.parent}")
    if not stat.S_ISSOCK(there):
        return fail("sockets", f"{name}: something is there that is no socket", f"move {path} away")
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(PATIENCE)
            probe.connect(str(path))
    except PermissionError:
        remedy = "run as the daemon's user or in its group, or set socket_mode"
        return fail("sockets", f"{name}: this user may not open it", remedy)
    except OSError as error:
        return warn(
            "sockets",
            f"{name}: nobody answers ({error.strerror or error})",
            f"{START}; it replaces a dead socket",
        )
    if (found := stat.S_IMODE(there)) != mode:
        remedy = f"chmod {mode:04o} {path}, and find out who changed it"
        return fail("sockets", f"{name}: mode {found:04o}, expected {mode:04o}", remedy)
    return ok("sockets", f"{name}: alive, mode {found:04o}")


def _look_at_folder(folder: Path, name: str) -> Finding:
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        remedy = f"mkdir -p {folder} and chown it to the daemon's user"
        return fail("sockets", f"{name}: there is none, and {nearest} may not be written", remedy)
    return warn("sockets", f"{name}: there is none", START)
