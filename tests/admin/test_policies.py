"""The running policy: accepted, refused, stored, taken back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from llmsidecar.v1 import health_pb2 as pb
from llmsidecar.v1.policy_pb2 import Policy, Service

from sidecar.admin.outcomes import (
    Accepted,
    Invalid,
    NothingPending,
    NotStored,
    Outcome,
    Stale,
    UnknownGeneration,
)
from sidecar.admin.revisions import Revision
from sidecar.policy.problems import Problem
from tests.admin.parts import HandClock, HandTimer, Running, a_policy, build, run


def accepted(outcome: Outcome) -> Revision:
    assert isinstance(outcome, Accepted), outcome
    return outcome.revision


async def started(state_dir: Path | None = None, file: Policy | None = None, **options: object) -> Running:
    parts = build(state_dir, **options)  # type: ignore[arg-type]
    accepted(await parts.policies.start(file or a_policy()))
    return parts


async def events(parts: Running, after: int, count: int) -> list[pb.HealthEvent]:
    watch = parts.hub.watch(after_sequence=after)
    return [await anext(watch) for _ in range(count)]


def test_an_accepted_policy_is_installed_told_and_numbered() -> None:
    """The snapshot, the event and the answer have to speak of the same generation."""

    async def story() -> None:
        parts = await started()
        before = parts.hub.sequence
        new = accepted(await parts.policies.update(a_policy("new"), comment="why"))
        assert (new.generation, new.source, new.comment) == (2, "api", "why")
        assert parts.installed[-1][0].generation == 2
        assert parts.installed[-1][0].services["bailian"].model == "new"
        (event,) = await events(parts, before, 1)
        assert event.policy_applied == pb.PolicyApplied(generation=2, source="api", comment="why")

    run(story())


def test_an_invalid_policy_changes_nothing_and_every_problem_is_told() -> None:
    """All or nothing; and one round of corrections has to be enough."""

    async def story() -> None:
        parts = await started()
        before, running = parts.hub.sequence, parts.policies.running
        bad = a_policy()
        bad.services[0].url = "ftp://x"
        bad.routes[0].services.append("nowhere")
        outcome = await parts.policies.update(bad)
        assert isinstance(outcome, Invalid)
        assert {p.field for p in outcome.problems} == {
            "policy.services[0].url", "policy.routes[0].services[2]"
        }  # fmt: skip
        assert parts.policies.running is running
        assert len(parts.installed) == 1
        (event,) = await events(parts, before, 1)
        assert [p.field for p in event.policy_rejected.problems] == [p.field for p in outcome.problems]
        assert event.policy_rejected.source == "api"

    run(story())


def test_an_empty_policy_is_refused() -> None:
    """A client that forgot the field must not wipe the policy."""

    async def story() -> None:
        parts = await started()
        outcome = await parts.policies.update(Policy())
        assert isinstance(outcome, Invalid)
        assert {p.field for p in outcome.problems} == {"policy.services", "policy.routes"}

    run(story())


def test_what_only_the_world_can_tell_refuses_too() -> None:
    """A policy whose secret is missing would fail at its first request; it should fail now."""

    async def story() -> None:
        parts = build()
        parts.policies._also_check = lambda policy: [Problem("policy.services[0]", "has no secret")]
        assert await parts.policies.start(a_policy()) == Invalid(
            (Problem("policy.services[0]", "has no secret"),)
        )
        assert parts.installed == []

    run(story())


def test_a_dry_run_tells_what_would_be_and_changes_nothing() -> None:
    """Not the policy, not the numbers, not the stream."""

    async def story() -> None:
        parts = await started()
        before = parts.hub.sequence
        would_be = accepted(await parts.policies.update(a_policy("new"), validate_only=True))
        bad = await parts.policies.update(Policy(), validate_only=True)
        assert would_be.policy == a_policy("new")
        assert isinstance(bad, Invalid)
        assert (parts.policies.running.generation, len(parts.installed)) == (1, 1)
        assert parts.hub.sequence == before

    run(story())


def test_a_mask_changes_what_it_names_and_an_unknown_path_is_a_problem() -> None:
    """The rest of the update is not looked at."""

    async def story() -> None:
        parts = await started()
        new = accepted(await parts.policies.update(Policy(services=a_policy("new").services), ["services"]))
        assert new.policy == a_policy("new")
        outcome = await parts.policies.update(Policy(), ["servces"])
        assert isinstance(outcome, Invalid)
        assert "did you mean services?" in outcome.problems[0].description

    run(story())


def test_a_hidden_secret_gets_its_running_value_back() -> None:
    """Get, change one field, update: the secret that was hidden on the way must survive."""

    async def story() -> None:
        parts = await started(file=a_policy(literal="geheim"))
        shown = a_policy("new", literal="<hidden>")
        new = accepted(await parts.policies.update(shown))
        assert new.policy == a_policy("new", literal="geheim")

    run(story())


def test_a_stale_etag_is_refused_and_the_same_content_again_is_a_new_etag() -> None:
    """An etag says that nobody came between, not that the content happens to be the same."""

    async def story() -> None:
        parts = await started()
        old = parts.policies.running.etag
        new = accepted(await parts.policies.update(a_policy(), etag=old))
        assert new.etag != old
        assert await parts.policies.update(a_policy("x"), etag=old) == Stale(old, new.etag)
        assert await parts.policies.rollback(1, old) == Stale(old, new.etag)
        assert await parts.policies.confirm(old) == Stale(old, new.etag)
        assert parts.policies.running.generation == 2

    run(story())


def test_a_rollback_is_a_new_revision_with_an_old_content() -> None:
    """History only grows, so that what happened can be read from it."""

    async def story() -> None:
        parts = await started()
        await parts.policies.update(a_policy("two"))
        back = accepted(await parts.policies.rollback(1))
        assert (back.generation, back.policy, back.comment) == (3, a_policy(), "rollback to generation 1")
        assert [r.generation for r in parts.policies.revisions] == [3, 2, 1]
        assert await parts.policies.rollback(99) == UnknownGeneration(99, (3, 2, 1))

    run(story())


def test_an_update_that_is_not_confirmed_takes_itself_back() -> None:
    """Whoever cuts off their own access gets it back."""

    async def story() -> None:
        hands, timer = HandClock(), HandTimer()
        parts = await started(clock=hands.clock(), call_later=timer.call_later)
        outcome = await parts.policies.update(a_policy("bold"), revert_after=60.0)
        assert isinstance(outcome, Accepted)
        assert outcome.reverts_at == parts.policies.reverts_at == hands.wall + 60 * 10**9
        assert timer.armed[0].delay == 60.0
        timer.armed[0].ring()
        await parts.policies.close()
        running = parts.policies.running
        assert (running.generation, running.policy, running.source) == (3, a_policy(), "state")
        assert running.comment == "generation 2 was not confirmed"
        assert parts.policies.reverts_at is None
        assert parts.installed[-1][1] == a_policy()

    run(story())


def test_a_confirmed_update_stays() -> None:
    """Also when the timer rings in the very moment of the confirmation."""

    async def story() -> None:
        timer = HandTimer()
        parts = await started(call_later=timer.call_later)
        bold = accepted(await parts.policies.update(a_policy("bold"), revert_after=60.0))
        assert accepted(await parts.policies.confirm(bold.etag)) is bold
        assert timer.armed[0].cancelled
        timer.armed[0].ring()
        await parts.policies.close()
        assert parts.policies.running is bold
        assert await parts.policies.confirm() == NothingPending()

    run(story())


def test_a_second_trial_falls_back_to_what_ran_before_the_first() -> None:
    """The first trial was never confirmed, so it is nothing to fall back to."""

    async def story() -> None:
        timer = HandTimer()
        parts = await started(call_later=timer.call_later)
        await parts.policies.update(a_policy("first"), revert_after=60.0)
        await parts.policies.update(a_policy("second"), revert_after=30.0)
        assert [alarm.cancelled for alarm in timer.armed] == [True, False]
        timer.armed[1].ring()
        await parts.policies.close()
        assert parts.policies.running.policy == a_policy()

    run(story())


@pytest.mark.parametrize("how", ["update", "rollback", "file"])
def test_a_change_that_does_not_wait_ends_the_waiting(how: str) -> None:
    """A later decision stands above an earlier trial."""

    async def story() -> None:
        timer = HandTimer()
        parts = await started(call_later=timer.call_later)
        await parts.policies.update(a_policy("trial"), revert_after=60.0)
        match how:
            case "update":
                await parts.policies.update(a_policy("final"))
            case "rollback":
                await parts.policies.rollback(2)
            case _:
                await parts.policies.apply(a_policy("final"), "file")
        assert timer.armed[0].cancelled
        assert parts.policies.reverts_at is None
        assert parts.policies.running.generation == 3

    run(story())


def test_after_a_restart_the_newest_accepted_policy_runs(tmp_path: Path) -> None:
    """The API's change outlives the process as long as nobody touches the file."""

    async def story() -> None:
        parts = await started(tmp_path)
        changed = accepted(await parts.policies.update(a_policy("api")))
        again = await started(tmp_path)
        assert (again.policies.running.policy, again.policies.running.source) == (a_policy("api"), "state")
        assert again.policies.running.etag == changed.etag
        assert [r.generation for r in again.policies.revisions] == [2, 1]

    run(story())


def test_after_a_restart_a_changed_file_wins(tmp_path: Path) -> None:
    """Whoever edits the file last means it."""

    async def story() -> None:
        parts = await started(tmp_path)
        await parts.policies.update(a_policy("api"))
        again = await started(tmp_path, a_policy("edited"))
        assert again.policies.running.policy == a_policy("edited")
        assert (again.policies.running.source, again.policies.running.generation) == ("file", 3)
        third = await started(tmp_path, a_policy("edited"))
        assert (third.policies.running.source, third.policies.running.generation) == ("file", 3)

    run(story())


def test_a_file_that_is_read_again_unchanged_leaves_the_apis_policy_alone(tmp_path: Path) -> None:
    """A restart and a SIGHUP must not disagree about who is newest."""

    async def story() -> None:
        parts = await started(tmp_path)
        api = accepted(await parts.policies.update(a_policy("api")))
        assert accepted(await parts.policies.apply(a_policy(), "file")) is api
        edited = accepted(await parts.policies.apply(a_policy("edited"), "file"))
        assert (edited.generation, parts.policies.running.policy) == (3, a_policy("edited"))
        back = accepted(await parts.policies.apply(a_policy(), "file"))
        assert (back.generation, parts.policies.running.policy) == (4, a_policy())

    run(story())


def test_a_restart_within_the_trial_takes_it_back(tmp_path: Path) -> None:
    """A trial that brought the process down is not one to begin with again."""

    async def story() -> None:
        parts = await started(tmp_path, call_later=HandTimer().call_later)
        await parts.policies.update(a_policy("bold"), revert_after=60.0)
        again = await started(tmp_path)
        running = again.policies.running
        assert (running.policy, running.generation, running.source) == (a_policy(), 3, "state")
        assert running.comment == "generation 2 was not confirmed"
        third = await started(tmp_path)
        assert third.policies.running.generation == 3

    run(story())


def test_a_confirmation_is_stored_before_it_is_answered(tmp_path: Path) -> None:
    """Or a restart would take back what its author was told to be final."""

    async def story() -> None:
        parts = await started(tmp_path, call_later=HandTimer().call_later)
        await parts.policies.update(a_policy("bold"), revert_after=60.0)
        accepted(await parts.policies.confirm())
        again = await started(tmp_path)
        assert again.policies.running.policy == a_policy("bold")

    run(story())


def test_a_corrupt_state_is_told_and_the_file_runs(tmp_path: Path) -> None:
    """It is not fatal, and it is not silent."""

    async def story() -> None:
        (tmp_path / "policy.json").write_text("nonsense")
        parts = build(tmp_path)
        before = parts.hub.sequence
        accepted(await parts.policies.start(a_policy()))
        first, *_ = await events(parts, before, 2)
        assert first.policy_rejected.source == "state"
        assert "set aside" in first.policy_rejected.problems[0].description
        assert parts.policies.running.source == "file"

    run(story())


def test_a_change_that_cannot_be_stored_is_refused_over_the_api_only(tmp_path: Path) -> None:
    """An answer promises that it is on disk; a file is on disk already."""

    async def story() -> None:
        parts = await started(tmp_path / "state")
        (tmp_path / "state" / "policy.json").unlink()
        (tmp_path / "state").rmdir()
        (tmp_path / "state").write_text("in the way")
        outcome = await parts.policies.update(a_policy("api"))
        assert isinstance(outcome, NotStored)
        assert "policy.json cannot be written" in outcome.why
        assert parts.policies.running.generation == 1
        assert accepted(await parts.policies.apply(a_policy("edited"), "file")).generation == 2

    run(story())


def test_a_caller_that_hangs_up_does_not_part_disk_and_memory(tmp_path: Path) -> None:
    """The change has begun; it is carried through, and then both have it."""

    async def story() -> None:
        parts = await started(tmp_path)
        call = asyncio.ensure_future(parts.policies.update(a_policy("api")))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await parts.policies.close()
        assert parts.policies.running.policy == a_policy("api")
        again = await started(tmp_path)
        assert again.policies.running.policy == a_policy("api")

    run(story())


def test_a_stored_policy_that_no_longer_passes_the_checks_gives_way_to_the_file(tmp_path: Path) -> None:
    """A newer version may be stricter than the one that stored it."""

    async def story() -> None:
        parts = await started(tmp_path)
        await parts.policies.update(a_policy("api"))
        again = build(tmp_path)
        again.policies._also_check = lambda policy: (
            [Problem("policy", "is of the past")] if policy == a_policy("api") else []
        )
        running = accepted(await again.policies.start(a_policy()))
        assert (running.policy, running.source, running.generation) == (a_policy(), "file", 3)

    run(story())


def test_what_is_held_cannot_be_changed_by_whoever_gave_it() -> None:
    """The running policy is a copy: a caller goes on using its message."""

    async def story() -> None:
        parts = await started()
        mine = a_policy("new")
        await parts.policies.update(mine)
        mine.services.append(Service(name="later"))
        assert parts.policies.running.policy == a_policy("new")

    run(story())
