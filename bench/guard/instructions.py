"""Machine instructions of the compiled data path, by valgrind's callgrind: the form that is shipped has no bytecodes.

of_plain       what a play costs, as a share of what the sources cost when the same Python interprets them
library_calls  of functions that are not ours, Python's and the C library's, made by our own
instructions   of a play: belongs to one build of Python, C compiler and C library

Rule:    the mean of many plays, without garbage collection: runs on one build differ by 1 % (docs/performance.md).
Errors:  Missing, OSError: nothing is compiled here, or valgrind is not here or may not look.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Sequence

from bench.guard.callgrind import counted
from bench.guard.callgrind_file import Call, Own, read
from bench.guard.kept import COMPILED, Table
from bench.guard.scenes import LOGGED, SCENES
from bench.guard.spent import Spent, spent
from bench.load.tools import Missing
from tests.compiled import libraries, stale

PLAYS = 300
CALLERS = 12  # so far behind a function of the library stands, nearly always, the one of ours that wanted it
LIBRARY = "sidecar__mypyc"
_COMPILER = re.compile(rb"(?:GCC: |clang version )[ -~]+")


def count(names: Sequence[str] = (*SCENES, *LOGGED)) -> dict[str, Table]:
    """By the parts in which they are kept: what can be compared anywhere, and what belongs to this build."""
    need_compiled()
    compiled, plain = counted(PLAYS, names, plain=False), counted(PLAYS, names, plain=True)
    portable: Table = {}
    exact: Table = {}
    for name in names:
        cost = instructions(compiled[name])
        portable[name] = {
            "of_plain": round(cost / instructions(plain[name]), 4),
            "library_calls": round(library_calls(compiled[name]) / PLAYS, 1),
        }
        exact[name] = {"instructions": round(cost / PLAYS)}
    return {COMPILED: portable, build(): exact}


def where(name: str) -> list[Spent]:
    """Our functions by what they cost in one play, most first."""
    need_compiled()
    options = (f"--separate-callers={CALLERS}",)
    return spent(counted(PLAYS, [name], plain=False, options=options)[name], PLAYS)


def need_compiled() -> None:
    if not libraries():
        raise Missing("the data path is not compiled here: make setup SIDECAR_COMPILE=1")
    if stale():
        raise Missing("the data path was compiled of older sources: make setup")


def build() -> str:
    """All but the sources that decides how many instructions there are."""
    [library] = (path for path in libraries() if path.name.startswith(LIBRARY))
    compiler = _COMPILER.search(library.read_bytes())
    names = (sys.version, compiler[0].decode() if compiler else "", " ".join(platform.libc_ver()))
    return ", ".join(names)


def instructions(text: str) -> int:
    return sum(one.instructions for one in read(text) if isinstance(one, Own))


def library_calls(text: str) -> int:
    return sum(
        one.times
        for one in read(text)
        if isinstance(one, Call) and LIBRARY in one.caller.library and LIBRARY not in one.callee.library
    )
