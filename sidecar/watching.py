"""Notices that the config file has changed.

In:      a path; `changed(text)` is called with the new content.
How:     `stat` through every link once a second, then the content: Kubernetes swaps a ConfigMap by a symlink two
         folders up, of which a watch on the file would see nothing.
Errors:  a file that cannot be read for the moment is waited for; `unreadable(why)` is told once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

INTERVAL = 1.0


class FileWatch:
    """Polls one file; `look()` does it at once."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: str,
        text: bytes,
        changed: Callable[[bytes], None],
        unreadable: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._path = path
        self._changed = changed
        self._unreadable = unreadable
        self._stamp = self._stat()
        self._text = text
        self._complained = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._timer = self._loop.call_later(INTERVAL, self._poll)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self, *, force: bool = False) -> None:
        """Reads the file if its stamp changed; `force`: in any case, and tells of the same content too."""
        stamp = self._stat()
        if stamp == self._stamp and not force:
            return
        try:
            with open(self._path, "rb") as file:
                text = file.read()
        except OSError as error:
            if not self._complained:
                self._complained = True
                self._unreadable(f"{self._path} cannot be read: {error.strerror}")
            return
        self._complained = False
        self._stamp = stamp
        if text != self._text or force:
            self._text = text
            self._changed(text)

    def _poll(self) -> None:
        self.start()
        self.look()

    def _stat(self) -> tuple[int, int, int, int] | None:
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
