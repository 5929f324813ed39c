"""Makes this process import the sources of the daemon, whether they are compiled or not: what is compiled has no
bytecodes that one could count, and no branches that a fuzzer could watch.

Rule:    called before the first import of `sidecar`.
"""

from __future__ import annotations

import sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "sidecar"
_finder = FileFinder.path_hook((SourceFileLoader, SOURCE_SUFFIXES))


def import_sources() -> None:
    assert not any(name.startswith("sidecar.") for name in sys.modules)
    sys.path_hooks.insert(0, _only_ours)
    sys.path_importer_cache.clear()


def _only_ours(path: str) -> FileFinder:
    if not Path(path).is_relative_to(SOURCES):
        raise ImportError(path)
    return _finder(path)
