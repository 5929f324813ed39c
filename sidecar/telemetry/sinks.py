"""Everybody who wants to know of finished requests.

In:      sinks; a record.
Rule:    what fails is logged and stops nobody: whoever listens must not be able to stop what runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

from sidecar.record import RequestRecord

log: Final = logging.getLogger(__name__)


class Sinks:
    """Told one after the other, in the order of their coming."""

    __slots__ = ("_sinks",)

    def __init__(self, sinks: Iterable[Callable[[RequestRecord], None]]) -> None:
        self._sinks = list(sinks)

    def add(self, *sinks: Callable[[RequestRecord], None]) -> None:
        self._sinks += sinks

    def request_finished(self, record: RequestRecord) -> None:
        for sink in self._sinks:
            try:
                sink(record)
            except Exception:
                log.exception("a sink failed on the record of request %s", record.request_id)
