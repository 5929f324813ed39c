"""Reads what callgrind writes: what each function did by itself, and what it called.

In:      the text of a file; functions with their callers' names behind them, if `--separate-callers` asked for that.
Out:     Own and Call, in the order of the file.
Limits:  one event (instructions), one position (lines), as callgrind writes without other options.
Source:  "Callgrind Format Specification" of the Valgrind manual.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class Function(NamedTuple):
    name: str
    library: str  # the file it is in
    callers: tuple[str, ...]  # the nearest one first; empty if nobody asked for them


class Own(NamedTuple):
    function: Function
    instructions: int


class Call(NamedTuple):
    caller: Function
    callee: Function
    times: int
    instructions: int  # of all that came of it


_NAME = re.compile(r"\((\d+)\)(?: (.+))?")


class _Names:
    """Each is written once, with a number that stands for it from then on."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, text: str) -> str:
        found = _NAME.fullmatch(text)
        assert found is not None, text
        number, name = found.groups()
        return self._known.setdefault(number, name) if name else self._known[number]


def read(text: str) -> Iterator[Own | Call]:
    libraries, functions = _Names(), _Names()
    library = called_library = ""
    caller = callee = Function("", "", ())
    times = 0
    for line in text.splitlines():
        key, _, value = line.partition("=")
        match key:
            case "ob":
                library = called_library = libraries.of(value)
            case "fn":
                caller, called_library = _function(functions.of(value), library), library
            case "cob":
                called_library = libraries.of(value)
            case "cfn":
                callee, called_library = _function(functions.of(value), called_library), library
            case "calls":
                times = int(value.split()[0])
            case _ if line[:1] in _POSITION:
                cost = int(line.split()[1])
                yield Call(caller, callee, times, cost) if times else Own(caller, cost)
                times = 0


_POSITION = frozenset("0123456789+-*")


def _function(name: str, library: str) -> Function:
    """Numbers among the names tell how often a function was on the stack already."""
    first, *callers = (part for part in name.split("'") if not part.isdecimal())
    return Function(first, library, tuple(callers))
