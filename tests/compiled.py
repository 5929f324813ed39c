"""Compiled modules beside the sources: whether they still say what the sources say."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
build: Any = importlib.import_module("hatch_build")  # by name: what it builds with has no types


def sources() -> list[Path]:
    """What is compiled where it can be."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [ROOT / name for name in project["tool"]["hatch"]["build"]["hooks"]["custom"]["compiled"]]


def libraries() -> list[Path]:
    return list(build.in_place(ROOT))


def stale() -> bool:
    """Whether a compiled module is older than its source."""
    built = min((path.stat().st_mtime for path in libraries()), default=None)
    return built is not None and any(path.stat().st_mtime > built for path in sources())


def remove_stale() -> bool:
    """Takes away all compiled modules if one is older than its source. Whether it did."""
    if not stale():
        return False
    for path in libraries():
        path.unlink()
    return True
