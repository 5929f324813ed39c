"""What every exporter is tried with: a batch, receivers that stop in the end, a shutdown from another thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from sidecar.telemetry.delivery import Exporter, NotTaken
from sidecar.telemetry.spans import request_of
from tests.telemetry.records import rescued

BATCH = request_of([rescued()], Resource()).SerializeToString()


class Receiver(Protocol):
    def stop(self) -> None: ...


R = TypeVar("R", bound=Receiver)


def started(receiver: Callable[..., R]) -> Iterator[Callable[..., R]]:
    """For a fixture: makes receivers, and stops them behind the test."""
    running: list[R] = []

    def begin(*turns: object) -> R:
        running.append(receiver(*turns))
        return running[-1]

    yield begin
    for one in running:
        one.stop()


def shut_down(exporter: Exporter, waits: Callable[[], None]) -> list[NotTaken]:
    """How a delivery ends when the exporter is shut down as soon as `waits` returns."""
    outcome: list[NotTaken] = []

    def deliver() -> None:
        try:
            exporter.deliver(BATCH)
        except NotTaken as why:
            outcome.append(why)

    thread = threading.Thread(target=deliver)
    thread.start()
    waits()
    exporter.shutdown()
    thread.join(10)
    assert not thread.is_alive()
    return outcome
