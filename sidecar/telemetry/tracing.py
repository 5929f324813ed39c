"""Tracing: finished requests go into a bounded queue, one thread makes spans of them and exports.

In:      finished requests that are kept (ToldOfKept), on the loop. A queued record is read later: nobody may
         change or reuse it.
Out:     batches of some BATCH spans, by an exporter with time limits and retries (telemetry.delivery).
Limits:  CAPACITY requests wait at most; more, and those of a batch that failed, are dropped and counted. So is what
         the collector rejects of a batch that it takes: each span as if it were of another request.
         `stop` flushes, and waits one second at most, however the collector behaves.
Errors:  none reach the loop. `report` is told, on the loop, when exporting begins to fail and when it works
         again: `traces_failing` or `traces_flowing`, with the reason; once, when spans are rejected: `traces_rejected`.
Cost:    on the loop 0.5 us a request. A span costs the thread 4 us with warm caches and ten without, and a batch half
         a millisecond, much of it while it holds the interpreter: hence few spans a batch, and a pause after each. A
         storm of failures takes a tenth of a core at most (5000 requests a second); the rest is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from sidecar.record import RequestRecord
from sidecar.telemetry import otlp

if TYPE_CHECKING:
    from sidecar.telemetry.delivery import Exporter, Taken

CAPACITY = 2048  # requests
BATCH = 64  # spans
_GATHER = 0.2  # seconds that a first record waits for others to go with it
_PAUSE = 0.005  # seconds between batches
_FLUSH_SHARE = 0.8  # of the time `stop` has; the rest is for calling off an export that hangs

Report = Callable[[str, str], None]


class Tracing:
    def __init__(
        self,
        where: otlp.Destination,
        *,
        version: str,
        loop: asyncio.AbstractEventLoop,
        report: Report,
        capacity: int = CAPACITY,
    ) -> None:
        self._where = where
        self._version = version
        self._loop = loop
        self._report = report
        self._capacity = capacity
        self._queue: deque[RequestRecord] = deque()
        self._refused = 0  # for want of room; written by the loop only
        self._failed = 0  # not taken by the collector; written by the thread only
        self._work = threading.Event()
        self._stopping = threading.Event()
        self._ended = asyncio.Event()
        self._flowing = True
        self._rejecting = False
        self._exporter: Exporter | None = None
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)

    @property
    def dropped(self) -> int:
        """Requests whose spans were lost."""
        return self._refused + self._failed

    def start(self) -> None:
        """The SDK is imported in the thread: the data path does not wait for it."""
        self._thread.start()

    def request_finished(self, record: RequestRecord) -> None:
        if len(self._queue) >= self._capacity:
            self._refused += 1
            return
        self._queue.append(record)
        if not self._work.is_set():
            self._work.set()

    async def stop(self, timeout: float = 1.0) -> None:
        """Flushes; what the collector does not take in time is dropped and counted."""
        self._stopping.set()
        self._work.set()
        if not self._thread.is_alive():
            return
        try:
            await asyncio.wait_for(self._ended.wait(), timeout * _FLUSH_SHARE)
        except TimeoutError:
            self._refused += len(self._queue)
            self._queue.clear()
            if self._exporter is not None:
                self._exporter.shutdown()  # ends the call that hangs, so the thread ends too
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), timeout * (1 - _FLUSH_SHARE))

    def _run(self) -> None:
        try:
            self._exporter = self._open()
        except Exception as error:  # a bad certificate file or header, say: no reason to fail the app's calls
            self._tell("traces_failing", f"{type(error).__name__}: {error}")
        last = False
        while not last:
            self._work.wait()
            self._stopping.wait(_GATHER)
            self._work.clear()
            last = self._stopping.is_set()  # before the queue is emptied: nothing comes after it
            self._empty_queue()
        if self._exporter is not None:
            self._exporter.shutdown()
        self._on_loop(self._ended.set)

    def _open(self) -> Exporter:
        # It would write what it does not like of a header or an attribute to stderr, each time.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        exporter = otlp.open_exporter(self._where)
        self._resource = otlp.resource(self._version)
        return exporter

    def _empty_queue(self) -> None:
        while batch := self._next_batch():
            self._export(batch)
            self._stopping.wait(_PAUSE)

    def _next_batch(self) -> list[RequestRecord]:
        """At least one request, if there is one, and no more spans than a batch may have."""
        batch: list[RequestRecord] = []
        room = BATCH
        with contextlib.suppress(IndexError):  # the loop may clear the queue at any moment
            while room > 0 and (not batch or len(self._queue[0].attempts) < room):
                batch.append(self._queue.popleft())
                room -= 1 + len(batch[-1].attempts)
        return batch

    def _export(self, batch: list[RequestRecord]) -> None:
        if self._exporter is None:
            self._failed += len(batch)
            return
        why = self._why_not(self._exporter, batch)
        if why is not None:
            self._failed += len(batch)
        if (why is None) != self._flowing:
            self._flowing = why is None
            self._tell("traces_failing" if why else "traces_flowing", why or self._exporter.where)

    def _why_not(self, exporter: Exporter, batch: list[RequestRecord]) -> str | None:
        """Sends a batch; None when the collector took it."""
        from sidecar.telemetry.delivery import NotTaken
        from sidecar.telemetry.spans import request_of

        try:
            taken = exporter.deliver(request_of(batch, self._resource).SerializeToString())
        except NotTaken as error:
            return str(error)
        except Exception as error:  # the thread outlives whatever a library trips over
            return f"{type(error).__name__}: {error}"
        if taken.rejected:
            self._note_rejected(taken, exporter.where, len(batch))
        return None

    def _note_rejected(self, taken: Taken, where: str, requests: int) -> None:
        self._failed += min(taken.rejected, requests)
        if not self._rejecting:
            self._rejecting = True
            self._tell("traces_rejected", f"{where} rejects {taken.rejected} spans: {taken.why}")

    def _tell(self, event: str, why: str) -> None:
        self._on_loop(lambda: self._report(event, why))

    def _on_loop(self, call: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended without us
            self._loop.call_soon_threadsafe(call)
