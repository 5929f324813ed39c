"""`make guard`: counts what a start, a request and a chunk cost, and compares with what was kept.

python -m bench.guard                  the table; exit 1 if something has become dearer
python -m bench.guard --where chunk    functions by bytecodes
python -m bench.guard --keep           these are the figures to compare with from now on
"""

from __future__ import annotations

import argparse
import asyncio

import uvloop

from bench.guard import start, system_calls
from bench.guard.counting import Figures, count_all, where
from bench.guard.kept import CALLS, PYTHON, Table, compare, complaint, keep, kept
from bench.guard.scenes import LOGGED, SCENES, daemon

COLUMNS = ("bytecodes", "calls", "c_calls", "peak", "held", "left", "modules")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.guard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--where", metavar="SCENE", choices=[*SCENES, *LOGGED])
    parser.add_argument("--no-start", action="store_true", help="nothing of what a start costs")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--system-calls", action="store_true", help="those too; needs strace and two cores")
    return parser.parse_args()


async def show_where(name: str) -> None:
    async with daemon(log=name in LOGGED) as running:
        for function, bytecodes in where({**SCENES, **LOGGED}[name](running)):
            print(f"{bytecodes:6}  {function}")


def show(now: Table, before: Table | None) -> None:
    print(f"{'':18}" + "".join(f"{column:>18}" for column in COLUMNS))
    for scene, figures in now.items():
        was = (before or {}).get(scene, {})
        print(f"{scene:18}" + "".join(f"{_cell(column, figures, was):>18}" for column in COLUMNS))


def _cell(column: str, figures: Figures, was: Figures) -> str:
    if column not in figures:
        return ""
    value, old = figures[column], was.get(column)
    return f"{value:g}" + (f" ({value / old - 1:+.1%})" if old and value != old else "")


def main() -> int:
    args = arguments()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if args.where:
            runner.run(show_where(args.where))
            return 0
        found = {PYTHON: runner.run(count_all()) | ({} if args.no_start else start.count())}
    show(found[PYTHON], kept(PYTHON))
    if args.system_calls:
        found[CALLS] = system_calls.count()
        for unit, figures in found[CALLS].items():
            print(
                f"system calls a {unit}: {', '.join(f'{name} {value:g}' for name, value in figures.items())}"
            )
    if args.keep:
        for part, table in found.items():
            keep(part, table)
        return 0
    dearer = []
    for part, table in found.items():
        before = kept(part)
        if before is None:
            print(f"nothing is kept for {part}; --keep does it")
        else:
            dearer += compare(before, table)
    if dearer:
        print(complaint(dearer))
    return 1 if dearer else 0
