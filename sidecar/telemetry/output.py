"""Writes to a descriptor that others share, stdout say, without ever waiting for its reader.

In:      bytes.
Out:     how many of them were taken; 0 when the reader is behind.
Errors:  OSError when nobody reads any more.
Why:     O_NONBLOCK belongs to the open file, not to the descriptor. Set on stdout it would change under the
         feet of every process that shares it (the shell's terminal, a log pipe of the whole container), so:
         - a pipe or terminal is opened a second time through /proc, which gives an open file of our own;
         - a socket takes the flag with each call;
         - a file or /dev/null never blocks for a reader, and is written as it is (opened again, it would lose
           its place beside what others write);
         - where the second opening is refused (a pipe made by another user), poll says whether there is
           room, and at most PIPE_BUF bytes go at once: only another writer in that very moment can stall us.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
from collections.abc import Callable

_PIPE_BUF = select.PIPE_BUF


class Output:
    def __init__(self, descriptor: int) -> None:
        self._close: Callable[[], None]
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISSOCK(mode):
            self._open_socket(descriptor)
        elif stat.S_ISFIFO(mode) or os.isatty(descriptor):
            self._open_stream(descriptor)
        else:
            self._descriptor = os.dup(descriptor)
            self._take = self._write_plainly
            self._close = self._close_descriptor

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """As much as is taken now."""
        try:
            return self._take(data)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._close()

    def _open_socket(self, descriptor: int) -> None:
        shared = socket.socket(fileno=os.dup(descriptor))
        self._take = lambda data: shared.send(data, socket.MSG_DONTWAIT)
        self._close = shared.close

    def _open_stream(self, descriptor: int) -> None:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        self._close = self._close_descriptor
        try:
            self._descriptor = os.open(f"/proc/self/fd/{descriptor}", flags)
            self._take = self._write_plainly
        except OSError:
            self._descriptor = os.dup(descriptor)
            self._poll = select.poll()
            self._poll.register(self._descriptor, select.POLLOUT)
            self._take = self._write_if_room

    def _write_plainly(self, data: bytes | bytearray | memoryview) -> int:
        return os.write(self._descriptor, data)

    def _write_if_room(self, data: bytes | bytearray | memoryview) -> int:
        if not self._poll.poll(0):
            return 0
        return os.write(self._descriptor, memoryview(data)[:_PIPE_BUF])

    def _close_descriptor(self) -> None:
        os.close(self._descriptor)
