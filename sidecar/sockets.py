"""Sockets to listen on: a Unix socket at a path that nobody else listens on, a TCP port.

In:      the path; a host and a port.
Out:     claim() clears the way; bind inside owner_only(), then chmod, or seal() for mode 0600, so that nobody may open
         it before its mode is set. literal_socket() binds a TCP address that has no name to be resolved.
Why:     event loops and gRPC replace whatever socket they find, that of a live process too, and leave mode 0755. For a
         literal, too, the loop would start its four resolver threads and load the tables of IDNA.
Errors:  OSError with words for the operator.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from sidecar.policy.syntax import is_ip
from sidecar.terms import TcpAddress


def claim(path: str) -> None:
    """Makes the folder if there is none and removes a dead process's socket; raises OSError otherwise."""
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, mode=0o755, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"unix:{path}: {folder} cannot be made: {error.strerror}") from error
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, f"unix:{path} is there and no socket; expected a free path")
    if _is_live(path):
        raise OSError(errno.EADDRINUSE, f"unix:{path}: address in use by a live process")
    os.unlink(path)


@contextmanager
def owner_only() -> Iterator[None]:
    """Whatever is created meanwhile is its owner's alone; the mask is the process's, so keep this short."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def literal_socket(address: TcpAddress) -> socket.socket | None:
    """A bound socket where the host is an IP address; None for a name, which is the loop's to resolve."""
    if not is_ip(address.host):
        return None
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server(address, family=family)
    except OSError as error:
        # Without what Python adds, which shows our own type.
        raise OSError(error.errno, os.strerror(error.errno or 0)) from error


def seal(path: str) -> None:
    os.chmod(path, 0o600)


def _is_live(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:  # a full backlog has somebody behind it
            return True
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True
