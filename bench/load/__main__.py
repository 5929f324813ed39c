"""`make bench`: the sidecar beside nginx, HAProxy, Envoy and LiteLLM on two cores.

python -m bench.load                                    everything, some 15 minutes
python -m bench.load --quick                            the goals, under 3 minutes
python -m bench.load json64 --peers haproxy,sidecar     one case
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import Any

from bench.load import costs, goals
from bench.load.cases import CASES
from bench.load.peers import PEERS
from bench.load.process import Died
from bench.load.results import Results, heading
from bench.load.rounds import field
from bench.load.sections import SECTIONS, Options
from bench.load.tools import Missing, need_two_cores

QUIET = 0.1


def arguments() -> argparse.Namespace:
    told = {name: case.what for name, case in CASES.items()}
    cases = "\n".join(f"  {name:16}{told.get(name, '')}" for name in SECTIONS)
    parser = argparse.ArgumentParser(
        prog="python -m bench.load",
        description=__doc__,
        epilog=f"cases:\n{cases}\npeers:\n  {', '.join(PEERS)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help="default: all, or with --quick those of the goals"
    )
    parser.add_argument("--peers", help="with commas; default: those of each case")
    parser.add_argument("--rounds", type=int, help="of each case [5; 3 beyond the first cases; quick: 2]")
    parser.add_argument(
        "--seconds", type=float, help="measured of each contender in each round [1.5; quick: 0.8]"
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--into", type=Path, metavar="STEM", help="keep figures in STEM.json and STEM.txt")
    args = parser.parse_args()
    for kind, names, known in (
        ("case", args.cases, SECTIONS),
        ("peer", (args.peers or "").split(","), PEERS),
    ):
        for name in filter(None, names):
            if name not in known:
                parser.error(f"no {kind} {name!r}; there are {', '.join(known)}")
    return args


def main() -> int:
    args = arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):  # whoever was started ends with us, as by Ctrl-C
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    names = args.cases or [name for name, section in SECTIONS.items() if section.quick or not args.quick]
    results = Results(args.into)
    began = time.monotonic()
    print(heading(), flush=True)
    try:
        need_two_cores()
        with field() as at:
            for name in names:
                options = Options(
                    peers=args.peers.split(",") if args.peers else None,
                    rounds=args.rounds or _rounds(name, quick=args.quick),
                    seconds=args.seconds or (0.8 if args.quick else 1.5),
                    quick=args.quick,
                )
                results.add(name, SECTIONS[name].run(at, options, _tell))
                print(f"\n{SECTIONS[name].show(results.figures()[name])}", flush=True)
    except (Missing, Died) as stopped:
        print(f"bench: {stopped}", file=sys.stderr)
        return 1
    figures = results.figures()
    if costs.costs(figures):
        print(f"\n{costs.show(figures)}")
    if found := goals.goals(figures):
        print(f"\n{goals.show(found)}")
    if disturbed := _disturbed({name: figures[name] for name in names}):
        print(f"\nothers had up to {disturbed:.0%} of the contender's core: measure again when they are gone")
    print(f"\n{time.monotonic() - began:.0f} s")
    results.keep(_text(results))
    wrong = [
        f"{peer} in {case}: {of['wrong']}"
        for case in names
        for peer, of in figures[case].get("peers", {}).items()
        if peer.startswith("sidecar") and of["wrong"]
    ]
    if wrong:
        print(f"bench: wrong answers, so no figure counts: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


def _disturbed(figures: dict[str, Any]) -> float:
    """The largest share that others had, when it is more than what a kernel does by itself."""
    shares = [of.get("others", 0.0) for found in figures.values() for of in found.get("peers", {}).values()]
    return max((share for share in shares if share > QUIET), default=0.0)


def _rounds(name: str, *, quick: bool) -> int:
    if quick:
        return 2
    return 5 if SECTIONS[name].quick else 3


def _tell(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="\r", file=sys.stderr, flush=True)


def _text(results: Results) -> str:
    figures = results.figures()
    parts = [heading(), *(SECTIONS[name].show(figures[name]) for name in SECTIONS if name in figures)]
    parts += [costs.show(figures), goals.show(goals.goals(figures))]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
