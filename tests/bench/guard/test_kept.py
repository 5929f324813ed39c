"""What the guard lets pass, and what it says of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.guard.kept import Dearer, Table, compare, complaint, keep, kept

BEFORE: Table = {"json": {"bytecodes": 4000.0, "calls": 10.0, "left": 0.0}}


def json(bytecodes: float = 4000.0, calls: float = 10.0, left: float = 0.0) -> Table:
    return {"json": {"bytecodes": bytecodes, "calls": calls, "left": left}}


@pytest.mark.parametrize(
    "now", [json(), json(bytecodes=4200.0), json(bytecodes=400.0), json(calls=11.0), json(left=16.0)]
)
def test_what_stays_within_the_margin_passes(now: Table) -> None:
    """Five per cent, and for small counts one more: else a guard would be switched off soon."""
    assert compare(BEFORE, now) == []


@pytest.mark.parametrize(
    ("figure", "was", "passes", "dearer"),
    [
        ("of_plain", 0.4, 0.448, 0.449),
        ("library_calls", 200.0, 205.0, 205.1),
        ("instructions", 10000.0, 10300.0, 10301.0),
    ],
)
def test_figures_of_the_compiled_form_have_margins_of_their_own(
    figure: str, was: float, passes: float, dearer: float
) -> None:
    """A share moves with the build of Python, the others do not."""
    before = {"json": {figure: was}}
    assert compare(before, {"json": {figure: passes}}) == []
    assert compare(before, {"json": {figure: dearer}}) == [Dearer("json", figure, was, dearer)]


@pytest.mark.parametrize(
    ("now", "dearer"),
    [
        (json(bytecodes=4205.0), Dearer("json", "bytecodes", 4000.0, 4205.0)),
        (json(calls=12.0), Dearer("json", "calls", 10.0, 12.0)),
        (json(left=17.0), Dearer("json", "left", 0.0, 17.0)),
        ({"new": {"peak": 1.0}}, Dearer("new", "peak", 0.0, 1.0)),
    ],
)
def test_what_grows_beyond_it_is_named(now: Table, dearer: Dearer) -> None:
    """By scene and figure, with both values, and with what to do about it."""
    assert compare(BEFORE, now) == [dearer]
    said = complaint([dearer])
    assert f"{dearer.scene}: {dearer.figure} {dearer.now:g}, kept {dearer.kept:g}" in said
    assert "python -m bench.guard --where" in said
    assert "python -m bench.guard --keep" in said


def test_figures_of_one_python_leave_those_of_another_alone(tmp_path: Path) -> None:
    """CI runs several, and each has bytecodes of its own."""
    file = tmp_path / "guard.json"
    assert kept("3.11", file) is None
    keep("3.12", BEFORE, file)
    keep("3.11", json(bytecodes=1.0), file)
    assert kept("3.12", file) == BEFORE
    assert kept("3.11", file) == json(bytecodes=1.0)
    assert kept("3.13", file) is None


def test_a_scene_that_was_not_played_is_kept_as_it_was(tmp_path: Path) -> None:
    """A start is counted in the form that is installed; the figure of the other one stays."""
    file = tmp_path / "guard.json"
    keep("3.11", json(), file)
    keep("3.11", {"start": {"modules": 300.0}}, file)
    assert kept("3.11", file) == json() | {"start": {"modules": 300.0}}
