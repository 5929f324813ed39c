"""The running policy: who may change it, what is checked, what is kept, what is taken back.

In:      policies from the config file, the API and the state folder.
Out:     install(snapshot, policy) at each change, exactly when it is accepted; events on the hub.
Order:   check, write to the state folder, install, tell. One change at a time; one that has begun is carried
         through even when its caller hangs up, so that disk and memory never disagree.
Restart: the file's policy runs if it is not the one that lay there when the state was stored; else the newest
         stored one; else, when that one still waited for its confirmation, the one before it.
File:    a file that is read again without a change of its policy changes nothing, whatever the API did since.
Revert:  an update with revert_after waits for confirm(). A further update that waits too falls back to the same
         policy as the first; one that does not wait, a rollback and a changed file end the waiting.
Errors:  expected refusals are values, see outcomes. When the disk refuses, the API's change is refused too; a
         file's change and a taking back go ahead, for the file is on disk anyway and safety comes first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from llmsidecar.v1.policy_pb2 import Policy

from sidecar.admin.facts import Clock
from sidecar.admin.hub import EventHub
from sidecar.admin.outcomes import (
    Accepted,
    Invalid,
    NothingPending,
    NotStored,
    Outcome,
    Stale,
    UnknownGeneration,
)
from sidecar.admin.revisions import Pending, Revision, State, Text, digest_of, revision
from sidecar.frozen import replace
from sidecar.policy.build import build_snapshot
from sidecar.policy.change import mask_problems, merge, unredacted
from sidecar.policy.check import check_policy
from sidecar.policy.problems import Checked, Problem
from sidecar.policy.snapshot import Snapshot

if TYPE_CHECKING:
    from sidecar.admin.store import PolicyStore

log = logging.getLogger(__name__)
T = TypeVar("T")


class Timer(Protocol):
    def cancel(self) -> None: ...


CallLater = Callable[[float, Callable[[], object]], Timer]


def _on_the_loop(delay: float, callback: Callable[[], object]) -> Timer:
    return asyncio.get_running_loop().call_later(delay, callback)


def _nothing_more(policy: Policy) -> Sequence[Problem]:
    return ()


class PolicyManager:
    """`install` must not raise; `also_check` adds what only the world can tell, such as a missing secret; it has to
    bear a policy that has other problems."""

    def __init__(
        self,
        install: Callable[[Snapshot, Policy], None],
        hub: EventHub,
        store: PolicyStore | None = None,
        *,
        clock: Clock | None = None,
        also_check: Callable[[Policy], Sequence[Problem]] = _nothing_more,
        call_later: CallLater = _on_the_loop,
    ) -> None:
        self._install = install
        self._hub = hub
        self._store = store
        self._clock = clock or Clock()
        self._also_check = also_check
        self._call_later = call_later
        self._state = State()
        self._running: Revision | None = None
        self._revert_timer: Timer | None = None
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def running(self) -> Revision:
        """What runs; only after start()."""
        assert self._running is not None, "no policy before start()"
        return self._running

    @property
    def reverts_at(self) -> int | None:
        """When the running policy takes itself back, in Unix nanoseconds."""
        return None if self._state.pending is None else self._state.pending.at

    @property
    def revisions(self) -> tuple[Revision, ...]:
        """Newest first."""
        return self._state.revisions[::-1]

    def choose_start(self, file_policy: Policy) -> tuple[Policy, str]:
        """Which policy runs after a start, and where it is from: `file` or `state`."""
        newest, pending = self._state.newest, self._state.pending
        if newest is None or self._state.file_digest != digest_of(file_policy):
            return file_policy, "file"
        if pending is not None:
            return pending.target.policy, "state"
        return (file_policy, "file") if newest.digest == self._state.file_digest else (newest.policy, "state")

    async def start(self, file_policy: Policy) -> Outcome:
        """Loads what was stored and puts the newest accepted policy into force; Invalid if there is none."""
        return await self._in_turn(self._start(file_policy))

    async def apply(self, policy: Policy, source: str, comment: str = "") -> Outcome:
        """Puts a whole policy into force."""
        return await self._in_turn(self._apply(policy, source, comment))

    async def update(
        self,
        update: Policy,
        paths: Sequence[str] = (),
        *,
        etag: str = "",
        validate_only: bool = False,
        revert_after: float | None = None,
        comment: str = "",
    ) -> Outcome:
        """Changes the running policy over the API: all of it, or what `paths` name."""
        return await self._in_turn(self._update(update, paths, etag, validate_only, revert_after, comment))

    async def rollback(self, generation: int, etag: str = "", comment: str = "") -> Outcome:
        """Puts an earlier revision into force, as a new one."""
        return await self._in_turn(self._rollback(generation, etag, comment))

    async def confirm(self, etag: str = "") -> Outcome:
        """Keeps an update that was made with revert_after."""
        return await self._in_turn(self._confirm(etag))

    def rejected(self, source: str, problems: Sequence[Problem]) -> None:
        """Tells of a policy that was refused elsewhere: a config file that cannot be read, say."""
        log.warning("policy from %s rejected: %s", source, "; ".join(map(str, problems)))
        self._hub.policy_rejected(source, problems)

    async def close(self) -> None:
        """Lets a change that has begun end, and forgets the timer; what is pending stays stored."""
        self._disarm()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _in_turn(self, change: Coroutine[Any, Any, T]) -> T:
        return await asyncio.shield(self._begin_turn(change))

    def _begin_turn(self, change: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        async def alone() -> T:
            async with self._turn:
                return await change

        task = asyncio.get_running_loop().create_task(alone())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _start(self, file_policy: Policy) -> Outcome:
        if self._store is not None:
            stored = await asyncio.to_thread(self._store.load)
            self._state = stored or State()
            if self._store.damage is not None:
                self.rejected("state", [Problem("state", self._store.damage)])
        policy, source = self.choose_start(file_policy)
        checked = self._check(policy)
        if checked.problems and source == "state":
            self.rejected("state", checked.problems)
            policy, source = file_policy, "file"
            checked = self._check(policy)
        if checked.problems:
            return Invalid(checked.problems)
        return await self._begin(policy, source, checked, digest_of(file_policy))

    async def _begin(self, policy: Policy, source: str, checked: Checked, file_digest: Text | str) -> Outcome:
        newest = self._state.newest
        if newest is None or newest.digest != digest_of(policy):
            taken_back = source == "state" and newest is not None
            comment = f"generation {newest.generation} was not confirmed" if newest and taken_back else ""
            return await self._commit(policy, source, comment, checked, file_digest=file_digest)
        state = replace(self._state, file_digest=file_digest, pending=None)
        await self._save_or_log(state)
        self._enforce(state, replace(newest, source=source))
        return Accepted(self.running, checked.warnings)

    async def _apply(self, policy: Policy, source: str, comment: str) -> Outcome:
        digest = digest_of(policy)
        if source == "file" and self._running is not None and digest == self._state.file_digest:
            return Accepted(self._running, reverts_at=self.reverts_at)
        checked = self._check(policy)
        if checked.problems:
            return self._refuse(source, checked.problems)
        file_digest = digest if source == "file" else self._state.file_digest
        return await self._commit(policy, source, comment, checked, file_digest=file_digest)

    async def _update(
        self,
        update: Policy,
        paths: Sequence[str],
        etag: str,
        validate_only: bool,
        revert_after: float | None,
        comment: str,
    ) -> Outcome:
        running = self.running
        if etag and etag != running.etag:
            return Stale(etag, running.etag)
        policy = merge(running.policy, unredacted(update, running.policy), paths)
        checked = self._check(policy)
        if problems := (*mask_problems(paths), *checked.problems):
            return Invalid(problems) if validate_only else self._refuse("api", problems)
        if validate_only:
            would_be = revision(running.generation + 1, policy, "api", comment, self._clock.now().wall)
            return Accepted(would_be, checked.warnings)
        return await self._commit(policy, "api", comment, checked, revert_after=revert_after)

    async def _rollback(self, generation: int, etag: str, comment: str) -> Outcome:
        if etag and etag != self.running.etag:
            return Stale(etag, self.running.etag)
        found = next((r for r in self._state.revisions if r.generation == generation), None)
        if found is None:
            return UnknownGeneration(generation, tuple(r.generation for r in self.revisions))
        checked = self._check(found.policy)
        if checked.problems:
            return self._refuse("api", checked.problems)
        comment = comment or f"rollback to generation {generation}"
        return await self._commit(found.policy, "api", comment, checked)

    async def _confirm(self, etag: str) -> Outcome:
        if etag and etag != self.running.etag:
            return Stale(etag, self.running.etag)
        if self._state.pending is None:
            return NothingPending()
        state = replace(self._state, pending=None)
        if why := await self._save(state):
            return NotStored(why)
        self._disarm()
        self._state = state
        return Accepted(self.running)

    async def _take_back(self, pending: Pending) -> None:
        if self._state.pending is not pending:  # confirmed or overtaken while this waited for its turn
            return
        comment = f"generation {self.running.generation} was not confirmed"
        policy = pending.target.policy
        await self._commit(policy, "state", comment, self._check(policy))

    def _check(self, policy: Policy) -> Checked:
        checked = check_policy(policy, "policy")
        return replace(checked, problems=(*checked.problems, *self._also_check(policy)))

    def _refuse(self, source: str, problems: Sequence[Problem]) -> Invalid:
        self.rejected(source, problems)
        return Invalid(tuple(problems))

    async def _commit(
        self,
        policy: Policy,
        source: str,
        comment: str,
        checked: Checked,
        *,
        file_digest: Text | str | None = None,
        revert_after: float | None = None,
    ) -> Outcome:
        now, last = self._clock.now().wall, self._state.newest
        new = revision(last.generation + 1 if last else 1, policy, source, comment, now)
        pending = None
        if revert_after is not None:
            target = self._state.pending.target if self._state.pending else self.running
            pending = Pending(target, now + round(revert_after * 1e9))
        state = self._state.with_newest(
            new, self._state.file_digest if file_digest is None else file_digest, pending
        )
        if source != "api":
            await self._save_or_log(state)
        elif why := await self._save(state):
            return NotStored(why)
        self._enforce(state, new)
        if pending is not None and revert_after is not None:
            self._revert_timer = self._call_later(
                revert_after, lambda: self._begin_turn(self._take_back(pending))
            )
        return Accepted(new, checked.warnings, None if pending is None else pending.at)

    def _enforce(self, state: State, new: Revision) -> None:
        self._disarm()
        self._state, self._running = state, new
        self._install(build_snapshot(new.policy, new.generation), new.policy)
        self._hub.policy_applied(new.generation, new.source, new.comment)

    def _disarm(self) -> None:
        if self._revert_timer is not None:
            self._revert_timer.cancel()
            self._revert_timer = None

    async def _save(self, state: State) -> str | None:
        """Why the state could not be stored; None: it is on disk, or nothing is to be kept."""
        if self._store is None:
            return None
        try:
            await asyncio.to_thread(self._store.save, state)
        except OSError as error:
            return f"{self._store.path} cannot be written: {error.strerror or error}"
        return None

    async def _save_or_log(self, state: State) -> None:
        if why := await self._save(state):
            log.error("policy runs, but is not kept over a restart: %s", why)
