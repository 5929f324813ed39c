"""The file that accepted policies are kept in, and what is written there."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.admin.revisions import (
    MOST_REVISIONS,
    Pending,
    State,
    revision,
)
from sidecar.admin.store import BadState, PolicyStore, decode, encode
from tests.admin.parts import WALL, a_policy

ROUNDS = 30
WRITER = """
import sys
from sidecar.admin.revisions import State, revision
from sidecar.admin.store import PolicyStore
from tests.admin.parts import WALL, a_policy

store = PolicyStore(sys.argv[1])
state = store.load() or State()
last = state.newest.generation if state.newest else 0
while True:
    last += 1
    state = state.with_newest(revision(last, a_policy(f"m{last}" * 500), "api", "", WALL), "f", None)
    store.save(state)
    print(last, flush=True)
"""


def a_state(generations: int = 1, **fields: object) -> State:
    state = State()
    for generation in range(1, generations + 1):
        new = revision(generation, a_policy(f"m{generation}"), "api", "why", WALL)
        state = state.with_newest(new, "filedigest", None)
    return state


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    """Down to the digest, or every restart would look like a change."""
    target = revision(1, a_policy("before", literal="geheim"), "file", "", WALL)
    state = State((target, revision(2, a_policy("naïve"), "api", "ä \n", WALL)), "d", Pending(target, WALL))
    PolicyStore(tmp_path).save(state)
    assert PolicyStore(tmp_path).load() == state


def test_a_missing_folder_is_made_and_only_the_owner_may_read(tmp_path: Path) -> None:
    """Literal secrets stand in the file."""
    store = PolicyStore(tmp_path / "a" / "b")
    assert store.load() is None
    store.save(a_state())
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700


def test_a_file_left_by_a_crashed_save_is_in_nobodys_way(tmp_path: Path) -> None:
    """It may be half written, and readable by others; neither may live on."""
    left = tmp_path / ".policy.json.new"
    left.write_text("half")
    left.chmod(0o644)
    store = PolicyStore(tmp_path)
    store.save(a_state())
    assert store.load() == a_state()
    assert os.listdir(tmp_path) == ["policy.json"]
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: b"",
        lambda text: b"\x00" * len(text),
        lambda text: text.replace(b"qwen", b"qwem").replace(b"m1", b"m2"),
        lambda text: text.replace(b'"format": 1', b'"format": 2'),
        lambda text: b"[]\n{}",
    ],
    ids=["cut", "empty", "zeros", "flipped", "newer format", "other json"],
)
def test_a_corrupt_file_is_set_aside_and_said(tmp_path: Path, damage: object) -> None:
    """A sidecar that will not start because of its own notes is worse than one that forgot them."""
    assert callable(damage)
    store = PolicyStore(tmp_path)
    store.save(a_state())
    spoiled = damage(store.path.read_bytes())
    store.path.write_bytes(spoiled)
    assert store.load() is None
    assert store.damage is not None
    assert store.damage.endswith("; set aside as policy.json.corrupt")
    assert (tmp_path / "policy.json.corrupt").read_bytes() == spoiled
    assert store.load() is None
    assert store.damage is None


def test_a_folder_that_cannot_be_written_is_an_error_of_the_save(tmp_path: Path) -> None:
    """The caller decides what that means; the store only does not hide it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        PolicyStore(tmp_path / "file" / "state").save(a_state())


def test_the_last_fifty_revisions_are_kept_and_the_newest_however_large() -> None:
    """The list has to fit into one message and the file to be written at every change."""
    assert [r.generation for r in a_state(60).revisions] == list(range(11, 61))
    assert len(a_state(60).revisions) == MOST_REVISIONS
    state = a_state(3)
    large = revision(4, a_policy("m" * 2_000_000), "api", "", WALL)
    assert [r.generation for r in state.with_newest(large, "", None).revisions] == [4]


def test_the_state_is_two_lines_of_json_with_the_names_of_the_config_file() -> None:
    """An operator may have to read it at night."""
    header, body, rest = encode(a_state()).split(b"\n")
    assert header.startswith(b'{"format": 1, "sha256": "')
    assert b'"services": [{"name": "self-hosted"' in body
    assert rest == b""


def test_a_state_of_another_version_names_both() -> None:
    """After a downgrade the reader should see why its policies are gone."""
    with pytest.raises(BadState, match="has the format 2; this version reads 1"):
        decode(encode(a_state()).replace(b'"format": 1', b'"format": 2'))


def test_killed_at_any_moment_the_old_or_the_new_state_is_there(tmp_path: Path) -> None:
    """What was reported as stored is stored, and nothing is ever mixed."""
    rng, told = random.Random(20260101), 0
    for _ in range(ROUNDS):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(rng.randint(1, 20))]
            _spin(rng.random() * 0.002)
            writer.send_signal(signal.SIGKILL)
            lines += writer.stdout.readlines()
        told = max(told, *(int(line) for line in lines if line.endswith(b"\n")))
        store = PolicyStore(tmp_path)
        state = store.load()
        assert store.damage is None
        assert state is not None
        assert state.newest is not None
        assert told <= state.newest.generation <= told + 1
        for each in state.revisions:
            assert each.policy == a_policy(f"m{each.generation}" * 500)
        told = state.newest.generation


def _spin(seconds: float) -> None:
    """Moves the kill to a random point of a save; a sleep would round it to the scheduler's grain."""
    end = os.times().elapsed + seconds
    while os.times().elapsed < end:
        pass
