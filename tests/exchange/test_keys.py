"""The keys of a service, in turn: who is left alone, and when one is new."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from sidecar.exchange.keys import Key, Keys
from sidecar.failure import Failure, FailureKind
from sidecar.frozen import replace
from sidecar.health.events import HealthEvent, ScopeReturned
from sidecar.health.ledger import Ledger
from sidecar.health.scopes import blame_of
from sidecar.policy.snapshot import Credential, Secret, Service
from tests.health.script import service_of


@pytest.fixture(autouse=True)
def looked_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a file that changed is noticed after a second."""
    monkeypatch.setattr("sidecar.upstream.secrets.RECHECK", 0.0)


class Stage:
    """One service whose keys are files."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder = folder
        for name in names:
            self.write(name, f"{name}-1")
        self.ledger = Ledger(Random(0))
        self.events: list[HealthEvent] = []
        self.service = self.with_keys(*names)
        self.ledger.configure({self.service.name: self.service}, 0.0)
        self.keys = self.made()

    def write(self, name: str, value: str) -> None:
        (self.folder / name).write_text(value)

    def with_keys(self, *names: str) -> Service:
        secrets = [Secret(file=str(self.folder / name)) for name in names]
        return replace(
            service_of("a"), credentials=tuple(Credential("authorization", "", one) for one in secrets)
        )

    def made(self) -> Keys:
        return Keys(self.service, self.ledger, self.events.extend)

    def refused(self, key: Key) -> None:
        """As judge does."""
        blame = blame_of(Failure(FailureKind.AUTH, 401), self.service.name, key.name, None)
        assert blame is not None
        key.blamed = key.field()
        self.ledger.blame(self.service.name, blame, 0.0)

    def used(self, times: int) -> list[str]:
        found = [self.keys.next(0.0) for _ in range(times)]
        return [key.field()[1] for key in found if key is not None]


def test_a_probe_takes_no_turn(tmp_path: Path) -> None:
    """Or with two keys and a probe between two requests, one key would serve them all."""
    stage = Stage(tmp_path, "one", "two")
    for expected in ("one-1", "two-1", "one-1"):
        shown = stage.keys.present(0.0)
        assert shown is not None
        assert shown.field()[1] == expected
        assert stage.used(1) == [expected]


def test_one_changed_key_of_two_is_used_again_at_once(tmp_path: Path) -> None:
    """The other one would carry its load for up to ten minutes."""
    stage = Stage(tmp_path, "one", "two")
    first = stage.keys.next(0.0)
    assert first is not None
    stage.refused(first)
    assert stage.used(2) == ["two-1", "two-1"]
    stage.write("one", "one-2")
    assert sorted(stage.used(2)) == ["one-2", "two-1"]
    assert stage.events == [ScopeReturned("llm", *first.scope)]


def test_what_was_refused_is_known_over_a_policy_change_that_keeps_the_key(tmp_path: Path) -> None:
    """Else a new value in its file would not be noticed any more."""
    stage = Stage(tmp_path, "one")
    first = stage.keys.next(0.0)
    assert first is not None
    stage.refused(first)
    old, stage.keys = stage.keys, stage.made()
    stage.keys.take_over(old)
    assert not stage.keys.renew(0.0)
    stage.write("one", "one-2")
    assert stage.keys.renew(0.0)
    assert stage.ledger.scopes("llm").all_keys(0.0) is None


def test_a_key_that_is_not_the_same_takes_over_nothing(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "one", "two")
    old = stage.keys
    stage.service = stage.with_keys("two")
    stage.keys = stage.made()
    stage.keys.take_over(old)
    assert stage.used(2) == ["two-1", "two-1"]
