"""Rules of AsyncAdminClient, against a real gRPC server on a Unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import grpc
import pytest
from llmsidecar.v1.health_pb2 import HealthEvent
from sidecar_client import AsyncAdminClient
from sidecar_client.errors import AccessDenied, NotFound, PolicyRejected, StaleEtag, Unreachable

from tests.client.daemon import END, Daemon, Script, running
from tests.client.messages import endpoint, event, policy, recovered

T = TypeVar("T")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with running(
        Daemon(policy=policy(), endpoints=[endpoint(), endpoint("bailian", "api:443")]), tmp_path
    ) as made:
        yield made


def talk(address: str, use: Callable[[AsyncAdminClient], Awaitable[T]]) -> T:
    """Runs `use` with a client in a loop of its own, for half a minute at most."""

    async def main() -> T:
        async with asyncio.timeout(30), AsyncAdminClient(address) as admin:
            return await use(admin)

    return asyncio.run(main())


async def take(stream: AsyncIterator[HealthEvent], count: int) -> list[tuple[str, int]]:
    seen: list[tuple[str, int]] = []
    async for told in stream:
        seen.append((told.type, told.sequence))
        if len(seen) == count:
            break
    return seen


def test_every_call_of_the_blocking_client_is_there(daemon: Daemon) -> None:
    """A program changes its style of waiting, not its words."""

    async def use(admin: AsyncAdminClient) -> None:
        current = await admin.get_policy()
        answer = await admin.update_policy(current.policy, etag=current.etag, comment="again", revert_after=2)
        assert answer.generation == 2
        assert (await admin.confirm()).generation == 2
        assert [r.comment for r in await admin.revisions()] == ["again"]
        assert (await admin.rollback(1)).generation == 3
        assert [e.service for e in await admin.endpoints(["bailian"])] == ["bailian"]
        assert not (await admin.eject("bailian", "api:443", 60)).available
        assert (await admin.restore("bailian", "api:443")).available

    talk(daemon.address, use)


def test_errors_are_those_of_the_blocking_client(daemon: Daemon) -> None:
    """Both translate in the same place."""
    daemon.violations = [("policy.routes", "is empty")]

    async def use(admin: AsyncAdminClient) -> None:
        with pytest.raises(PolicyRejected) as caught:
            await admin.update_policy(policy())
        assert [violation.field for violation in caught.value.violations] == ["policy.routes"]
        with pytest.raises(StaleEtag):
            await admin.update_policy(policy(), etag="etag-0")
        with pytest.raises(NotFound):
            await admin.restore("bailian", "nowhere:1")

    talk(daemon.address, use)


def test_a_daemon_that_does_not_run_is_unreachable(tmp_path: Path) -> None:
    """Also for a stream that was not told to wait."""

    async def use(admin: AsyncAdminClient) -> None:
        with pytest.raises(Unreachable):
            await admin.get_policy()
        with pytest.raises(Unreachable):
            await take(admin.events(), 1)

    talk(f"unix:{tmp_path}/none.sock", use)


def test_events_come_in_order_over_as_many_connections_as_it_takes(daemon: Daemon) -> None:
    """A status of CANCELLED is the odd one: grpc.aio shows it as if this very task had been cancelled."""
    daemon.scripts = [
        Script([event(10, "snapshot"), recovered(11)], END),
        Script([recovered(12)], grpc.StatusCode.CANCELLED),
        Script([], grpc.StatusCode.UNAVAILABLE),
        Script([event(20, "gap", first_missed=13, last_missed=20)]),
    ]
    seen = talk(daemon.address, lambda admin: take(admin.events(), 4))
    assert seen == [("snapshot", 10), ("service_recovered", 11), ("service_recovered", 12), ("gap", 20)]
    assert [request.after_sequence for request in daemon.asked] == [0, 11, 12, 12]


def test_a_refused_watch_raises_instead_of_trying_for_ever(daemon: Daemon) -> None:
    """No patience heals a missing permission."""
    daemon.scripts = [Script([recovered(1)], grpc.StatusCode.PERMISSION_DENIED)]
    with pytest.raises(AccessDenied):
        talk(daemon.address, lambda admin: take(admin.events(), 2))


def test_cancelling_the_task_that_follows_ends_it(daemon: Daemon) -> None:
    """A cancellation that was swallowed would leave a task that nobody can end."""
    daemon.scripts = [Script([recovered(1)])]

    async def use(admin: AsyncAdminClient) -> None:
        arrived = asyncio.Event()

        async def follow() -> None:
            async for _ in admin.events():
                arrived.set()

        async with asyncio.TaskGroup() as group:
            task = group.create_task(follow())
            await arrived.wait()
            task.cancel()
        assert task.cancelled()

    talk(daemon.address, use)


def test_closing_the_client_ends_a_stream_that_waits(daemon: Daemon) -> None:
    """In good order: the loop over the events is simply over."""
    daemon.scripts = [Script([recovered(1)])]

    async def use(admin: AsyncAdminClient) -> list[int]:
        seen = []
        async with asyncio.TaskGroup() as group:
            async for told in admin.events():
                seen.append(told.sequence)
                group.create_task(admin.close())
        return seen

    assert talk(daemon.address, use) == [1]
