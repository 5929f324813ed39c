"""Every seed and every crasher of the fuzzer, run again: what was found once must not come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.borrowed import borrowed
from tests.fuzz.targets import CRASHERS, SEEDS, TARGETS

KEPT = sorted(path for folder in (SEEDS, CRASHERS) for path in folder.glob("*/*"))


@pytest.mark.parametrize(
    "path", KEPT, ids=lambda path: f"{path.parent.parent.name}-{path.parent.name}-{path.name}"
)
def test_kept_inputs_find_nothing(path: Path) -> None:
    """A target asserts by itself; it needs no fuzzer for that."""
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize(("name", "inputs"), borrowed().items(), ids=borrowed())
def test_the_raw_cases_find_nothing(name: str, inputs: list[bytes]) -> None:
    """What is right over sockets is right for every split of the bytes, and for the second opinions."""
    assert inputs
    for data in inputs:
        TARGETS[name](data)


def test_every_target_has_seeds() -> None:
    """Without one the fuzzer would have to guess the shape of a whole HTTP message."""
    assert {path.parent.name for path in KEPT if SEEDS in path.parents} == set(TARGETS)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_no_bytes_at_all_are_an_input_too(target: object) -> None:
    """A connection may end before its first byte."""
    assert callable(target)
    target(b"")
