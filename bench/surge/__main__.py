"""`make surge`: the same surge before every contender, with real processes and sockets; one table, and a picture.

A primary of ten slots, calm for 10 s, four times its capacity for 40 s, calm for 60 s. Each run takes two minutes,
three where the primary is killed; several run at a time, for one needs a tenth of a core. `ARGS='--only sidecar'`
plays the cases whose names begin so.

Columns: success      requests that got a whole answer
         broken       status 200, and then garbled, empty or cut: an app may take it for an answer
         crashes      of the primary by overload
         p99          first packet, of the surge's requests that got one, in seconds
         late         surge requests without a first packet within 200 ms
         used         of the primary's capacity in the surge, by whole answers
         back         seconds until the primary serves 90 % again, after the surge or after its restart
         ejected      seconds into the surge until the first ejection (the sidecar tells; the others do not)
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import monotonic

from bench.surge.case import Case, Contender
from bench.surge.figures import Figures, figures
from bench.surge.picture import picture
from bench.surge.scene import play
from sidecar.demo.llm import Opening

FORMATS = (".2%", "d", "d", ".3f", ".1%", ".1%", ".1f", ".1f")
HEADS = ("success", "broken", "crashes", "p99", "late", "used", "back", "ejected")
WIDTH = 52
AT_A_TIME = 5


def cases(seed: int) -> Iterator[tuple[str, Case]]:
    for one in Contender:
        yield one.value, Case(one, seed=seed)
    for one in (Contender.ENVOY, Contender.HAPROXY, Contender.SIDECAR):
        yield f"{one.value}; computes on for who hung up", Case(one, cancels=False, seed=seed)
    for opening, words in (
        (Opening.ROLE, "role-only first event"),
        (Opening.NOTHING, "head with the first token"),
    ):
        for one in (Contender.ENVOY, Contender.HAPROXY, Contender.SIDECAR):
            yield f"{one.value}; {words}", Case(one, opening=opening, seed=seed)
    yield "sidecar; 20 of them", Case(sidecars=20, seed=seed)
    yield "sidecar; 20 of them; computes on for who hung up", Case(sidecars=20, cancels=False, seed=seed)
    yield "sidecar; killed, quick return", Case(killed=True, quick_return=True, seed=seed)
    yield "sidecar; killed, ejections of 30 s", Case(killed=True, seed=seed)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make surge", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="cases whose names begin with this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--picture", type=Path, help="write an SVG of the first case named `sidecar` here")
    parser.add_argument("--pictures", type=Path, help="and of every case into this folder")
    return parser.parse_args()


def row(name: str, told: Figures | str) -> str:
    if isinstance(told, str):
        return f"{name:{WIDTH}}{told}"
    cells = (
        "-" if value != value else format(value, form) for value, form in zip(told, FORMATS, strict=True)
    )
    return f"{name:{WIDTH}}" + "".join(f"{cell:>9}" for cell in cells)


def main() -> None:
    args = arguments()
    chosen = [(name, case) for name, case in cases(args.seed) if name.startswith(args.only)]
    if not chosen:
        sys.exit(f"no case begins with {args.only!r}; there are: {', '.join(name for name, _ in cases(0))}")
    began = monotonic()
    print(f"{'contender':{WIDTH}}" + "".join(f"{head:>9}" for head in HEADS), flush=True)
    with ProcessPoolExecutor(AT_A_TIME, mp_context=get_context("spawn")) as pool:
        playing = [(name, case, pool.submit(play, case)) for name, case in chosen]
        for name, case, future in playing:
            notes = future.result()
            if notes.missing:
                print(row(name, f"not there: {notes.missing}"), flush=True)
                continue
            found = figures(case, notes)
            print(row(name, found), flush=True)
            if args.picture is not None and name == Contender.SIDECAR.value:
                args.picture.write_text(picture(case, notes, found))
            if args.pictures is not None:
                args.pictures.mkdir(exist_ok=True)
                file = "".join(c if c.isalnum() else "-" for c in name)
                (args.pictures / f"{file}.svg").write_text(picture(case, notes, found))
    print(f"seed {args.seed}; took {monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
