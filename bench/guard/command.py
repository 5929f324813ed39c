"""`make guard`: counts what a start, a request and a chunk cost, and compares with what was kept.

python -m bench.guard                             the tables; exit 1 if something has become dearer
python -m bench.guard --where chunk               functions by bytecodes
python -m bench.guard --where chunk --compiled    of the compiled form, by machine instructions
python -m bench.guard --keep                      these are the figures to compare with from now on
"""

from __future__ import annotations

import argparse
import asyncio

import uvloop

from bench.guard import instructions, start, system_calls
from bench.guard.counting import Figures, count_all, where
from bench.guard.kept import CALLS, PYTHON, Table, compare, complaint, keep, kept
from bench.guard.scenes import LOGGED, SCENES, daemon
from bench.load.tools import Missing

MOST_CALLED = 5


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.guard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--where", metavar="SCENE", choices=[*SCENES, *LOGGED])
    parser.add_argument("--compiled", action="store_true", help="with --where: needs valgrind")
    parser.add_argument("--no-start", action="store_true", help="nothing of what a start costs")
    parser.add_argument("--no-instructions", action="store_true", help="nothing of the compiled form")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--system-calls", action="store_true", help="those too; needs strace and two cores")
    return parser.parse_args()


async def show_where(name: str) -> None:
    async with daemon(log=name in LOGGED) as running:
        for function, bytecodes in where({**SCENES, **LOGGED}[name](running)):
            print(f"{bytecodes:6}  {function}")


def show_where_compiled(name: str) -> int:
    try:
        found = instructions.where(name)
    except (Missing, OSError) as why:
        print(why)
        return 1
    print("of one play: instructions, those of the function itself; what it calls, instructions/times")
    for one in found:
        called = ", ".join(map(str, one.called[:MOST_CALLED]))
        print(f"{one.instructions:8.0f} {one.itself:8.0f}  {one.function}: {called}")
    return 0


def show(part: str, now: Table, before: Table | None) -> None:
    columns = list(dict.fromkeys(column for figures in now.values() for column in figures))
    print(f"\n{part}\n{'':22}" + "".join(f"{column:>18}" for column in columns))
    for scene, figures in now.items():
        was = (before or {}).get(scene, {})
        print(f"{scene:22}" + "".join(f"{_cell(column, figures, was):>18}" for column in columns))


def _cell(column: str, figures: Figures, was: Figures) -> str:
    if column not in figures:
        return ""
    value, old = figures[column], was.get(column)
    return f"{value:g}" + (f" ({value / old - 1:+.1%})" if old and value != old else "")


def count(args: argparse.Namespace, runner: asyncio.Runner) -> dict[str, Table]:
    """By the parts in which they are kept."""
    found = {PYTHON: runner.run(count_all()) | ({} if args.no_start else start.count())}
    if args.system_calls:
        found[CALLS] = system_calls.count()
    if not args.no_instructions:
        try:
            found |= instructions.count()
        except (Missing, OSError) as why:
            print(f"nothing of the compiled form: {why}")
    return found


def main() -> int:
    args = arguments()
    if args.where and args.compiled:
        return show_where_compiled(args.where)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if args.where:
            runner.run(show_where(args.where))
            return 0
        found = count(args, runner)
    for part, table in found.items():
        show(part, table, kept(part))
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
