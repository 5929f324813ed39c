"""Whose instructions they are: each belongs to the function of ours that is nearest on the stack.

In:      what callgrind wrote with `--separate-callers`.
Out:     Spent, of one play, most first. What nobody of ours wanted (the scene itself, the loop) is one line, too.
Rule:    what a function of ours calls of ours is that one's; what it calls of the library is its own. mypyc's helpers
         and wrappers (CPy…, CPyPy_…) are library here.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from bench.guard.callgrind_file import Call, Own, read

OURS = "CPyDef_"
OUTSIDE = "(outside)"


class Called(NamedTuple):
    name: str
    instructions: float
    times: float

    def __str__(self) -> str:
        return f"{self.name} {self.instructions:.0f}" + (f"/{self.times:.3g}" if self.times else "")


class Spent(NamedTuple):
    function: str
    instructions: float
    itself: float
    called: list[Called]


def spent(text: str, plays: int) -> list[Spent]:
    cost: Counter[tuple[str, str]] = (
        Counter()
    )  # by the function of ours and what it calls, itself under its own name
    times: Counter[tuple[str, str]] = Counter()
    for one in read(text):
        match one:
            case Own(function, instructions):
                cost[_owner((function.name, *function.callers))] += instructions
            case Call(caller, callee, count) if caller.name.startswith(OURS):
                times[caller.name, callee.name] += count
    found = [_of(owner, cost, times, plays) for owner in {owner for owner, _ in cost}]
    return sorted(found, key=lambda one: -one.instructions)


def _owner(stack: tuple[str, ...]) -> tuple[str, str]:
    """With what it has called directly."""
    called = stack[0]
    for name in stack:
        if name.startswith(OURS):
            return name, called
        called = name
    return OUTSIDE, called


def _of(owner: str, cost: Counter[tuple[str, str]], times: Counter[tuple[str, str]], plays: int) -> Spent:
    its = {called: number / plays for (who, called), number in cost.items() if who == owner}
    itself = its.pop(owner, 0.0)
    called = [Called(name, number, times[owner, name] / plays) for name, number in its.items()]
    called.sort(key=lambda one: -one.instructions)
    return Spent(_readable(owner), itself + sum(its.values()), itself, called)


def _readable(name: str) -> str:
    """As mypyc has made it of module, class and method."""
    return name.removeprefix(OURS).replace("___", ".")
