"""`make surge`: one surge with real daemons and sockets; prints its figures and draws its picture.

Takes two minutes: calm 10 s, four times the primary's capacity for 40 s, calm 60 s."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import asdict
from pathlib import Path

import uvloop

from bench.surge.figures import Figures, figures
from bench.surge.picture import picture
from bench.surge.scene import Case, Scene
from sidecar.demo.llm import Opening

FORMATS = {
    "requests": "d",
    "success": ".2%",
    "crashes": "d",
    "first_packet_p99": ".3f",
    "late": ".1%",
    "used": ".1%",
    "back_after": ".1f",
    "first_ejection": ".1f",
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make surge", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sidecars", type=int, default=1, help="before the one primary [1]")
    parser.add_argument(
        "--no-cancel", action="store_true", help="the primary computes on when callers hang up"
    )
    parser.add_argument(
        "--opening",
        choices=[opening.value for opening in Opening],
        default="head",
        help="what of a stream it sends before the first token [head]",
    )
    parser.add_argument("--no-adaptive", action="store_true", help="lateness ejects: the reference scenario")
    parser.add_argument("--kill", action="store_true", help="the primary is killed 20 s into the surge")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--picture", type=Path, help="write an SVG here")
    return parser.parse_args()


def show(found: Figures) -> None:
    for name, value in found._asdict().items():
        told = "-" if value != value else format(value, FORMATS[name])
        print(f"{name.replace('_', ' '):18}{told:>10}")


def main() -> None:
    args = arguments()
    case = Case(
        sidecars=args.sidecars,
        cancels=not args.no_cancel,
        opening=Opening(args.opening),
        adaptive=not args.no_adaptive,
        killed=args.kill,
        seed=args.seed,
    )
    print(", ".join(f"{name} {value}" for name, value in asdict(case).items()), flush=True)

    async def play() -> Figures:
        notes = await Scene(case).play()
        found = figures(case, notes)
        if args.picture is not None:
            args.picture.write_text(picture(case, notes, found))
        return found

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        show(runner.run(play()))


if __name__ == "__main__":
    main()
