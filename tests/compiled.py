"""Compiled modules beside the sources: whether they still say what the sources say."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def sources() -> list[Path]:
    """What is compiled where it can be."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [ROOT / name for name in project["tool"]["hatch"]["build"]["hooks"]["custom"]["compiled"]]


def libraries(root: Path = ROOT) -> Iterator[Path]:
    yield from root.glob("sidecar__mypyc*.so")
    yield from (root / "sidecar").rglob("*.so")


def remove_stale() -> bool:
    """Takes away all compiled modules if one is older than its source. Whether it did."""
    built = min((path.stat().st_mtime for path in libraries()), default=None)
    if built is None or all(path.stat().st_mtime <= built for path in sources()):
        return False
    for path in list(libraries()):
        path.unlink()
    return True
