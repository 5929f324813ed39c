"""The figures that were kept, and what a change is allowed to cost.

In:      figures as counted now; bench/results/guard.json.
Out:     a Dearer for each figure that grew beyond its margin.
Limits:  counts of bytecodes and bytes belong to a Python version, machine instructions to one build of it: on one that
         nobody has kept figures for, there is nothing to compare with, and `kept` says so with None.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).parents[1] / "results" / "guard.json"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
COMPILED = f"{PYTHON}, compiled"
CALLS = "system calls"  # of any Python
MARGIN = 0.05
MARGINS = {
    # A Python that was built with profiles makes both forms cheaper, the compiled one by up to 10 % more. Kept on one,
    # compared on the other: docs/performance.md has the figures.
    "of_plain": 0.12,
    "library_calls": 0.02,  # the same wherever they are counted, but for what a play does now and then
    "instructions": 0.02,  # the same from run to run within 0.7 %
}
SLACK = {
    "bytecodes": 4.0,
    "calls": 1.0,
    "c_calls": 1.0,
    "library_calls": 1.0,
    "instructions": 100.0,
    "left": 16.0,
    "all": 0.5,
}  # beyond the margin; else nothing

Table = dict[str, dict[str, float]]


class Dearer(NamedTuple):
    scene: str
    figure: str
    kept: float
    now: float

    def __str__(self) -> str:
        share = f" ({self.now / self.kept - 1:+.0%})" if self.kept else ""
        return f"{self.scene}: {self.figure} {self.now:g}, kept {self.kept:g}{share}"


REMEDY = """
The data path has become dearer than what was kept in bench/results/guard.json.
- See where: python -m bench.guard --where json (or another scene) lists functions by bytecodes, with --compiled those
  of the compiled form by machine instructions; the same on the commit before shows the difference.
- If it is worth its price: python -m bench.guard --keep, and say in the commit what is bought with it."""


def kept(part: str, file: Path = FILE) -> Table | None:
    whole = json.loads(file.read_text()) if file.exists() else {}
    found: Table | None = whole.get(part)
    return found


def keep(part: str, table: Table, file: Path = FILE) -> None:
    """Scenes that were not played now, as the start in the other form, stay as they are."""
    whole = json.loads(file.read_text()) if file.exists() else {}
    whole[part] = whole.get(part, {}) | table
    file.write_text(json.dumps(dict(sorted(whole.items())), indent=1) + "\n")


def compare(before: Table, now: Table) -> list[Dearer]:
    """A scene or figure that was not kept counts as dearer than nothing: it has to be kept, too."""
    return [
        Dearer(scene, figure, was, value)
        for scene, figures in now.items()
        for figure, value in figures.items()
        if value > most(figure, was := before.get(scene, {}).get(figure, 0.0))
    ]


def most(figure: str, was: float) -> float:
    return was * (1.0 + MARGINS.get(figure, MARGIN)) + SLACK.get(figure, 0.0)


def complaint(dearer: list[Dearer]) -> str:
    return "\n".join([*(f"  {one}" for one in dearer), REMEDY])
