"""A bounded buffer of log lines before an Output, emptied by a timer.

In:      finished lines, in order.
Out:     writes of many lines each: under load a request costs no system call of its own.
Limits:  a line is written DELAY after it was added, or when ENOUGH bytes wait, if its reader keeps up; for one that is
         behind, at most CAPACITY bytes wait. What does not fit is dropped whole and counted; a line that was begun is
         always finished.
Errors:  none. An output that nobody reads any more costs the count of its lines.
"""

from __future__ import annotations

import asyncio
from typing import Final

from sidecar.telemetry.output import Output

DELAY: Final = 0.05
_RETRY: Final = 0.005  # after a full pipe: 64 KiB each time makes 13 MB/s, more than the busiest sidecar logs
CAPACITY: Final = 1024 * 1024
ENOUGH: Final = 32 * 1024  # bytes; they are written while the processor still has them in its cache
_BATCH: Final = 64 * 1024  # the usual size of a pipe: more than this would not go in one write anyway


class Lines:
    def __init__(
        self,
        output: Output,
        loop: asyncio.AbstractEventLoop,
        *,
        delay: float = DELAY,
        capacity: int = CAPACITY,
    ) -> None:
        self.dropped = 0
        self._output = output
        self._loop = loop
        self._delay = delay
        self._capacity = capacity
        self._waiting: list[bytes] = []
        self._size = 0
        self._rest = b""  # of a batch that was taken in part
        self._timer: asyncio.TimerHandle | None = None

    def add(self, line: bytes) -> None:
        """The line with its newline."""
        if self._size + len(line) > self._capacity:
            self.dropped += 1
            return
        self._waiting.append(line)
        self._size += len(line)
        if self._timer is None:
            self._timer = self._loop.call_later(self._delay, self._due)
        elif self._size >= ENOUGH and not self._rest:
            self._timer.cancel()
            self._due()

    def flush(self) -> None:
        """Writes what the output takes now."""
        try:
            while self._rest or self._waiting:
                if not self._rest:
                    self._rest = self._next_batch()
                taken = self._output.write(self._rest)
                self._rest = self._rest[taken:]
                self._size -= taken
                if self._rest:
                    return
        except OSError:
            self._drop_all()

    def close(self) -> None:
        """A last write; what is not taken is dropped and counted."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()
        self._drop_all()
        self._output.close()

    def _due(self) -> None:
        self._timer = None
        self.flush()
        if self._size:
            self._timer = self._loop.call_later(_RETRY, self._due)

    def _next_batch(self) -> bytes:
        count = size = 0
        while count < len(self._waiting) and size < _BATCH:
            size += len(self._waiting[count])
            count += 1
        batch = b"".join(self._waiting[:count])
        del self._waiting[:count]
        return batch

    def _drop_all(self) -> None:
        self.dropped += self._rest.count(b"\n") + len(self._waiting)
        self._rest = b""
        self._waiting.clear()
        self._size = 0
