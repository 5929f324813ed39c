"""What callgrind writes, read: sums, and whose they are."""

from __future__ import annotations

from bench.guard.callgrind_file import Call, Function, Own, read
from bench.guard.spent import OUTSIDE, Called, Spent, spent

LIBRARY, PYTHON = "/home/sidecar__mypyc.so", "/usr/lib/libpython.so"
PLAIN = f"""# callgrind format
version: 1
cmd: python -m bench.guard.played 2 chunk
part: 1

positions: line
events: Ir
summary: 0

ob=(1) {LIBRARY}
fl=(1) one.c
fn=(1) CPyDef_wire___Reader___feed
10 40
+2 4
cob=(2) {PYTHON}
cfi=(2) two.c
cfn=(2) PyObject_Vectorcall'2
calls=6 148
* 900
cfn=(3) CPyDef_wire___Reader____next
calls=2 20
-3 60

ob=(2)
fl=(2)
fn=(2)
148 300

totals: 344
"""


def test_costs_and_calls_are_told_apart() -> None:
    """The line behind `calls=` is not what the function itself has done."""
    feed = Function("CPyDef_wire___Reader___feed", LIBRARY, ())
    vectorcall = Function("PyObject_Vectorcall", PYTHON, ())
    assert list(read(PLAIN)) == [
        Own(feed, 40),
        Own(feed, 4),
        Call(feed, vectorcall, 6, 900),
        Call(feed, Function("CPyDef_wire___Reader____next", LIBRARY, ()), 2, 60),
        Own(vectorcall, 300),
    ]


CALLERS = f"""
ob=(1) {LIBRARY}
fn=(1) CPyDef_wire___Reader___feed'CPyPy_feed'PyObject_Vectorcall'scene
10 40
cob=(2) {PYTHON}
cfn=(2) PyObject_Vectorcall'CPyDef_wire___Reader___feed'CPyPy_feed
calls=2 0
1 190
cfn=(3) CPyDef_wire___Reader____next'CPyDef_wire___Reader___feed'CPyPy_feed
calls=4 0
1 8
fn=(3)
30 8
ob=(2)
fn=(2)
20 100
fn=(4) malloc'PyObject_Vectorcall'CPyDef_wire___Reader___feed'CPyPy_feed
20 60
fn=(5) CPyPy_hear'PyObject_Vectorcall'CPyDef_wire___Reader___feed'CPyPy_feed
20 10
ob=(1)
fn=(6) CPyDef_hear'CPyPy_hear'PyObject_Vectorcall'CPyDef_wire___Reader___feed
20 20
ob=(2)
fn=(7) PyObject_Vectorcall'scene
20 1000
"""


def test_the_library_works_for_the_nearest_function_of_ours() -> None:
    """What comes back into ours through the library is not counted twice, as sums of callees would."""
    assert spent(CALLERS, plays=2) == [
        Spent(OUTSIDE, 500.0, 0.0, [Called("scene", 500.0, 0.0)]),
        Spent("wire.Reader.feed", 105.0, 20.0, [Called("PyObject_Vectorcall", 85.0, 1.0)]),
        Spent("hear", 10.0, 10.0, []),
        Spent("wire.Reader._next", 4.0, 4.0, []),
    ]
