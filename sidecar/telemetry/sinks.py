"""Everybody who wants to know of finished requests.

In:      sinks; a record.
Rule:    what fails is logged and stops nobody: whoever listens must not be able to stop what runs.
Cost:    a sink that is compiled costs a call in C; one in plain Python is behind a Told, which asks it as rarely as
         it can.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

from sidecar.record import RequestRecord, Sink
from sidecar.telemetry.sampling import is_kept

log: Final = logging.getLogger(__name__)


class Told(Sink):
    """A function that is told of every request."""

    __slots__ = ("_told",)

    def __init__(self, told: Callable[[RequestRecord], None]) -> None:
        self._told = told

    def request_finished(self, record: RequestRecord) -> None:
        self._told(record)


class ToldOfFallbacks(Told):
    """Of those alone that have an attempt at a service which stands in for another."""

    __slots__ = ()

    def request_finished(self, record: RequestRecord) -> None:
        for attempt in record.attempts:
            if attempt.fallback_from is not None:
                self._told(record)
                return


class ToldOfKept(Told):
    """Of those alone that leave a trace."""

    __slots__ = ()

    def request_finished(self, record: RequestRecord) -> None:
        if is_kept(record):
            self._told(record)


class Sinks(Sink):
    """Told one after the other, in the order of their coming."""

    __slots__ = ("_sinks",)

    def __init__(self, sinks: Iterable[Sink]) -> None:
        self._sinks = list(sinks)

    def add(self, sink: Sink) -> None:
        self._sinks.append(sink)

    def request_finished(self, record: RequestRecord) -> None:
        for sink in self._sinks:
            try:
                sink.request_finished(record)
            except Exception:
                log.exception("a sink failed on the record of request %s", record.request_id)
