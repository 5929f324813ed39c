"""What is said of an attempt that has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import pytest

from sidecar.exchange.clocks import Clocks
from sidecar.exchange.judge import judge
from sidecar.exchange.keys import Field, Key
from sidecar.exchange.runtime import Shared
from sidecar.failure import Failure, FailureKind
from sidecar.frozen import replace
from sidecar.health.ledger import EndpointHealth, Ledger
from sidecar.policy.snapshot import AdaptiveConcurrency
from sidecar.record import AttemptRecord, Attempts
from sidecar.telemetry.sinks import Sinks
from tests.health.script import SERVICE, service_of


@dataclass
class Ended:
    """An attempt without a key."""

    shared: Shared
    endpoint: EndpointHealth
    era: int
    record: AttemptRecord
    key: Key | None = None
    sent: Field | None = None
    is_excused: bool = False
    is_about_app: bool = False


@pytest.fixture
def shared() -> Iterator[Shared]:
    """One service with one endpoint that has a limit."""
    loop = asyncio.new_event_loop()
    ledger = Ledger(Random(1))
    ledger.configure({SERVICE: replace(service_of("a"), adaptive_concurrency=AdaptiveConcurrency())}, 0.0)
    yield Shared(
        loop,
        ledger,
        Random(1),
        Clocks(loop),
        Sinks(()),
        Attempts(lambda _, __: None),
        lambda events: None,
    )
    loop.close()


def ghosts_after(shared: Shared, *, failure: Failure | None, connected_at: float | None, reused: bool) -> int:
    endpoint = the_endpoint(shared)
    record = AttemptRecord(1, SERVICE, endpoint.key.address, b"%016x" % 1, 0.0, None)
    record.connected_at, record.reused = connected_at, reused
    record.failure, record.dropped = failure, failure is None
    judge(Ended(shared, endpoint, shared.ledger.started(endpoint, 0.0), record), 0.1)
    assert endpoint.limit is not None
    return endpoint.limit.ghosts(0.1)


def the_endpoint(shared: Shared) -> EndpointHealth:
    (endpoint,) = shared.ledger.endpoints(SERVICE)
    return endpoint


@pytest.mark.parametrize(
    "failure", [None, Failure(FailureKind.FIRST_PACKET_TIMEOUT)], ids=["dropped", "late"]
)
@pytest.mark.parametrize(
    ("connected_at", "reused", "ghosts"), [(None, False, 0), (0.05, False, 1), (None, True, 1)]
)
def test_only_what_the_server_has_seen_goes_on_keeping_it_busy(
    shared: Shared, failure: Failure | None, connected_at: float | None, reused: bool, ghosts: int
) -> None:
    """An attempt that was given up while it dialled has reached nobody, and must not take a place."""
    assert ghosts_after(shared, failure=failure, connected_at=connected_at, reused=reused) == ghosts
