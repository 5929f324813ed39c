"""The services over a real server and a real channel."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from llmsidecar.v1 import health_pb2 as pb
from llmsidecar.v1.policy_pb2 import (
    ConfirmPolicyRequest,
    GetPolicyRequest,
    ListPolicyRevisionsRequest,
    Policy,
    RollbackPolicyRequest,
    UpdatePolicyRequest,
)

from sidecar.admin.services import MOST_WATCHERS
from sidecar.health.events import Ejected, Returned, ServiceRecovered, ServiceUnavailable
from sidecar.terms import TcpAddress
from tests.admin.parts import WALL, A, HandClock, HandTimer, a_policy, run, served

Code = grpc.StatusCode


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code(), refused.value.details() or ""


def test_get_change_update(folder: Path) -> None:
    """The round that every client makes; the hidden secret survives it."""

    async def story() -> None:
        async with served(folder, clock=HandClock().clock()) as api:
            await api.policies.update(a_policy(literal="geheim"))
            got = await api.policy_api.GetPolicy(GetPolicyRequest())
            assert (got.generation, got.source, got.applied_at.ToNanoseconds()) == (2, "api", WALL)
            assert got.policy == a_policy(literal="<hidden>")
            assert not got.HasField("reverts_at")
            got.policy.services[0].model = "new"
            updated = await api.policy_api.UpdatePolicy(
                UpdatePolicyRequest(policy=got.policy, etag=got.etag, comment="c")
            )
            assert (updated.generation, updated.policy) == (3, got.policy)
            assert updated.warnings == [
                "policy.services[0].credential.bearer: " + w.partition(": ")[2] for w in updated.warnings
            ]
            assert api.policies.running.policy.services[0].credential.bearer.literal == "geheim"

    run(story())


def test_of_200_updates_with_one_etag_one_wins_every_time(folder: Path) -> None:
    """Two writers that read the same policy must never both believe that theirs runs."""

    async def story() -> None:
        async with served(folder, state_dir=folder / "state") as api:
            for turn in range(1, 4):
                etag = (await api.policy_api.GetPolicy(GetPolicyRequest())).etag
                calls = (
                    api.policy_api.UpdatePolicy(
                        UpdatePolicyRequest(policy=a_policy(f"{turn}-{n}"), etag=etag)
                    )
                    for n in range(200)
                )
                answers = await asyncio.gather(*calls, return_exceptions=True)
                won = [a for a in answers if not isinstance(a, BaseException)]
                lost = [a for a in answers if isinstance(a, grpc.aio.AioRpcError)]
                assert (len(won), len(lost)) == (1, 199)
                assert {error.code() for error in lost} == {Code.ABORTED}
                assert won[0].generation == turn + 1
                got = await api.policy_api.GetPolicy(GetPolicyRequest())
                assert (got.etag, got.policy) == (won[0].etag, won[0].policy)

    run(story())


def test_a_trial_is_shown_confirmed_and_rolled_back(folder: Path) -> None:
    """The whole of revert_after as a client sees it."""

    async def story() -> None:
        hands = HandClock()
        async with served(folder, clock=hands.clock(), call_later=HandTimer().call_later) as api:
            trial = await api.policy_api.UpdatePolicy(
                UpdatePolicyRequest(policy=a_policy("bold"), revert_after=Duration(seconds=60))
            )
            assert trial.reverts_at.ToNanoseconds() == WALL + 60 * 10**9
            got = await api.policy_api.GetPolicy(GetPolicyRequest())
            assert got.reverts_at == trial.reverts_at
            kept = await api.policy_api.ConfirmPolicy(ConfirmPolicyRequest(etag=trial.etag))
            assert (kept.generation, kept.etag) == (2, trial.etag)
            code, _ = await refusal(api.policy_api.ConfirmPolicy(ConfirmPolicyRequest()))
            assert code is Code.FAILED_PRECONDITION
            back = await api.policy_api.RollbackPolicy(RollbackPolicyRequest(generation=1, comment="no"))
            assert (back.generation, back.policy) == (3, a_policy())
            listed = await api.policy_api.ListPolicyRevisions(ListPolicyRevisionsRequest())
            assert [(r.generation, r.comment, r.source) for r in listed.revisions] == [
                (3, "no", "api"), (2, "", "api"), (1, "", "file")
            ]  # fmt: skip
            assert listed.revisions[1].policy == a_policy("bold")

    run(story())


UPDATES = [
    (UpdatePolicyRequest(), Code.INVALID_ARGUMENT, "policy.services"),
    (UpdatePolicyRequest(policy=a_policy(), etag="old"), Code.ABORTED, "etag old is stale"),
    (
        UpdatePolicyRequest(policy=a_policy(), update_mask=FieldMask(paths=["rutes"])),
        Code.INVALID_ARGUMENT,
        "did you mean routes?",
    ),
    (
        UpdatePolicyRequest(policy=a_policy(), revert_after=Duration(seconds=-1)),
        Code.INVALID_ARGUMENT,
        "revert_after: is -1s; expected more than 0s",
    ),
    (
        UpdatePolicyRequest(policy=a_policy(), comment="x" * 1025),
        Code.INVALID_ARGUMENT,
        "comment: has 1025 characters",
    ),
    (UpdatePolicyRequest(policy=Policy(), validate_only=True), Code.INVALID_ARGUMENT, "policy.routes"),
]


@pytest.mark.parametrize(("request_", "code", "words"), UPDATES)
def test_a_refused_update_says_why_and_changes_nothing(
    folder: Path, request_: UpdatePolicyRequest, code: grpc.StatusCode, words: str
) -> None:
    """What ran goes on running."""

    async def story() -> None:
        async with served(folder) as api:
            got_code, text = await refusal(api.policy_api.UpdatePolicy(request_))
            assert got_code is code
            assert words in text
            assert api.policies.running.generation == 1

    run(story())


def test_a_dry_run_answers_and_changes_nothing(folder: Path) -> None:
    """It tells the etag that the policy would get, and what it would warn of."""

    async def story() -> None:
        async with served(folder) as api:
            policy = a_policy("new")
            policy.routes[0].ClearField("services")
            policy.routes[0].services.append("bailian")
            dry = await api.policy_api.UpdatePolicy(UpdatePolicyRequest(policy=policy, validate_only=True))
            assert dry.policy == policy
            assert dry.warnings == ["policy.services[0]: is named by no route, so nothing is ever sent to it"]
            assert api.policies.running.generation == 1

    run(story())


def test_an_unknown_generation_names_those_that_are_held(folder: Path) -> None:
    """The old ones are forgotten, so this happens to careful people too."""

    async def story() -> None:
        async with served(folder) as api:
            answer = await refusal(api.policy_api.RollbackPolicy(RollbackPolicyRequest(generation=7)))
            assert answer == (Code.NOT_FOUND, "generation 7 is not held; expected one of 1")

    run(story())


def test_endpoints_are_listed_ejected_and_restored(folder: Path) -> None:
    """The override is answered with the new state, and told to whoever hears of health, the stream among them."""

    async def story() -> None:
        hands = HandClock()
        async with served(folder, clock=hands.clock()) as api:
            listed = await api.health_api.ListEndpoints(pb.ListEndpointsRequest())
            assert [(e.service, e.available) for e in listed.endpoints] == [
                ("self-hosted", True), ("bailian", True)
            ]  # fmt: skip
            ejected = await api.health_api.EjectEndpoint(
                pb.EjectEndpointRequest(service=A.service, endpoint=A.address, duration=Duration(seconds=300))
            )
            assert ejected.endpoint.state == pb.ENDPOINT_STATE_EJECTED
            assert ejected.endpoint.until.ToNanoseconds() == WALL + 300 * 10**9
            one = await api.health_api.ListEndpoints(pb.ListEndpointsRequest(services=[A.service]))
            assert list(one.endpoints) == [ejected.endpoint]
            restored = await api.health_api.RestoreEndpoint(
                pb.RestoreEndpointRequest(service=A.service, endpoint=A.address)
            )
            assert restored.endpoint.available
            assert [[type(event) for event in events] for events in api.told] == [
                [Ejected, ServiceUnavailable], [Returned, ServiceRecovered]
            ]  # fmt: skip
            watch = api.health_api.WatchHealthEvents(
                pb.WatchHealthEventsRequest(after_sequence=listed.sequence, services=[A.service])
            )
            events = [await watch.read() for _ in range(4)]
            assert [e.type for e in events] == [
                "endpoint_ejected", "service_unavailable", "endpoint_returned", "service_recovered"
            ]  # fmt: skip
            assert [e.sequence - listed.sequence for e in events] == [1, 2, 3, 4]

    run(story())


OVERRIDES = [
    ("EjectEndpoint", pb.EjectEndpointRequest(service="nobody", endpoint="x:1"), Code.NOT_FOUND),
    ("RestoreEndpoint", pb.RestoreEndpointRequest(service=A.service, endpoint="x:1"), Code.NOT_FOUND),
    ("EjectEndpoint", pb.EjectEndpointRequest(duration=Duration()), Code.INVALID_ARGUMENT),
    ("EjectEndpoint", pb.EjectEndpointRequest(duration=Duration(seconds=-5)), Code.INVALID_ARGUMENT),
    ("EjectEndpoint", pb.EjectEndpointRequest(duration=Duration(seconds=10**11)), Code.INVALID_ARGUMENT),
]


@pytest.mark.parametrize(("method", "request_", "code"), OVERRIDES)
def test_an_override_that_cannot_be_done_says_what_could(
    folder: Path, method: str, request_: object, code: grpc.StatusCode
) -> None:
    """A mistyped address is the usual case, so the known ones are named."""

    async def story() -> None:
        async with served(folder) as api:
            got_code, text = await refusal(getattr(api.health_api, method)(request_))
            assert got_code is code
            if code is Code.NOT_FOUND:
                assert "self-hosted 127.0.0.1:8000, bailian 127.0.0.1:8001" in text
            assert api.told == []

    run(story())


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_thousands_of_events_reach_a_watcher_in_order(folder: Path, transport: str) -> None:
    """Through a real channel, over both kinds of address."""
    addresses = [] if transport == "unix" else [TcpAddress("127.0.0.1", 0)]

    async def story() -> None:
        async with served(folder, addresses=addresses) as api:
            watch = api.health_api.WatchHealthEvents(pb.WatchHealthEventsRequest())
            first = await watch.read()
            assert first.type == "snapshot"
            assert [e.service for e in first.snapshot.endpoints] == ["self-hosted", "bailian"]
            assert first.snapshot.policy_generation == 1
            expected = first.sequence
            for _ in range(10):
                api.hub.publish_health([Returned(A, "x")] * 300)
                for _ in range(300):
                    event = await watch.read()
                    expected += 1
                    assert event.sequence == expected

    run(story())


def test_a_reader_that_stalls_gets_a_gap_and_the_next_one_is_not_held_up(folder: Path) -> None:
    """Its flow-control window fills, its cursor stays, and nobody else notices."""

    async def story() -> None:
        async with served(folder, capacity=500) as api:
            stalled = api.health_api.WatchHealthEvents(pb.WatchHealthEventsRequest())
            first = await stalled.read()
            brisk = api.health_api.WatchHealthEvents(pb.WatchHealthEventsRequest())
            assert (await brisk.read()).type == "snapshot"
            for _ in range(100):
                api.hub.publish_health([Returned(A, "x" * 1000)] * 100)
                for _ in range(100):
                    assert (await brisk.read()).type == "endpoint_returned"
            seen, expected = [], first.sequence + 1
            while expected <= api.hub.sequence:
                event = await stalled.read()
                seen.append(event.type)
                if event.type == "gap":
                    assert event.gap.first_missed == expected
                else:
                    assert event.sequence == expected
                expected = event.sequence + 1
            assert "gap" in seen

    run(story())


def test_who_resumes_with_nothing_missed_is_told_of_being_heard(folder: Path) -> None:
    """Nothing may happen for hours: who waits for the answer's head must not take that for a daemon that hangs."""

    async def story() -> None:
        async with served(folder) as api:
            watch = api.health_api.WatchHealthEvents(
                pb.WatchHealthEventsRequest(after_sequence=api.hub.sequence)
            )
            await watch.wait_for_connection()
            api.hub.publish_health([Returned(A, "x")])
            assert (await watch.read()).type == "endpoint_returned"

    run(story())


def test_a_watcher_that_hangs_up_is_forgotten(folder: Path) -> None:
    """Or its place in the limit would be lost for ever."""

    async def story() -> None:
        async with served(folder) as api:
            watch = api.health_api.WatchHealthEvents(pb.WatchHealthEventsRequest())
            await watch.read()
            assert api.hub.watchers == 1
            watch.cancel()
            for _ in range(5000):  # turns of the loop until the server has heard of it
                if not api.hub.watchers:
                    break
                await asyncio.sleep(0.001)
            assert api.hub.watchers == 0

    run(story())


def test_one_watcher_too_many_is_refused(folder: Path) -> None:
    """A client that leaks watches must not take the loop away from the data path."""

    async def story() -> None:
        async with served(folder) as api:
            watches = [
                api.health_api.WatchHealthEvents(pb.WatchHealthEventsRequest()) for _ in range(MOST_WATCHERS)
            ]
            for watch in watches:
                await watch.read()
            extra = api.health_api.WatchHealthEvents(pb.WatchHealthEventsRequest())
            code, text = await refusal(extra.read())
            assert code is Code.RESOURCE_EXHAUSTED
            assert "64 watchers" in text
            assert len(watches) == MOST_WATCHERS

    run(story())


def test_a_stop_ends_watches_so_that_clients_connect_again(folder: Path) -> None:
    """UNAVAILABLE is what every client takes for a reason to try once more."""

    async def story() -> None:
        async with served(folder) as api:
            watch = api.health_api.WatchHealthEvents(pb.WatchHealthEventsRequest())
            await watch.read()
            await api.server.stop(5.0)
            code, _ = await refusal(watch.read())
            assert code is Code.UNAVAILABLE

    run(story())
