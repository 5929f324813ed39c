"""A Unix socket at a path that nobody else listens on, and that nobody may open before its mode is set.

In:      the path.
Out:     claim() clears the way; bind inside owner_only(), then chmod, or seal() for mode 0600.
Why:     event loops and gRPC replace whatever socket they find, that of a live process too, and leave mode 0755.
Errors:  OSError with words for the operator.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def claim(path: str) -> None:
    """Makes the folder if there is none and removes a dead process's socket; raises OSError otherwise."""
    folder = Path(path).parent
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
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
