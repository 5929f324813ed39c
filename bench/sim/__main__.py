"""`make sim`: the surge with 1 to 50 sidecars before one primary, in invented time, and its figures.

Columns: success        requests that got a whole answer
         crashes        of the primary by overload, over all runs
         p99            first packet, of the surge's requests, in seconds
         late           surge requests for which the primary was tried in vain
         used           of the primary's capacity in the surge, by tokens that reached the app
         busy           of its slots in the surge, for whomever
         back, worst    seconds until the primary serves 90 % again, after the surge or after its restart
         ejected        seconds into the surge until the first ejection
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import nan
from time import monotonic

from bench.sim.surge import Case, Figures, run
from sidecar.policy.snapshot import PassiveHealth

# For a server of one's own that is started again when it dies: asked once a second, and soon fully used.
PROBED = PassiveHealth(base_ejection_time=1.0, max_ejection_time=1.0, ramp=3.0)
# The reference scenario judges each interval by itself.
REFERENCE = PassiveHealth(window=1.0)
COLUMNS = ("success", "crashes", "p99", "late", "used", "busy", "back", "worst", "ejected")


def cases() -> Iterator[tuple[str, Case]]:
    for count in (1, 5, 20, 50):
        for cancels in (True, False):
            does = "cancels" if cancels else "computes on"
            yield f"{count:2} before a server that {does}", Case(sidecars=count, cancels=cancels)
    for count in (1, 20):
        yield f"{count:2}, server_cancels: true", Case(sidecars=count, known=True)
    for count in (1, 5, 20, 50):
        for cancels in (True, False):
            does = "cancels" if cancels else "computes on"
            yield f"{count:2}, {does}, queue read", Case(count, cancels=cancels, reads_queue=True)
    for count in (1, 20):
        yield f"{count:2}, primary killed, probed 1/s", Case(sidecars=count, killed=True, passive=PROBED)
        yield f"{count:2}, primary killed, by default", Case(sidecars=count, killed=True)
    for count in (1, 20):
        yield f"{count:2}, enabled: false", Case(sidecars=count, adaptive=False)
        yield f"{count:2}, enabled: false, window: 1s", Case(count, adaptive=False, passive=REFERENCE)


def mean(values: Sequence[float | None]) -> float:
    """Of those there are."""
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else nan


def cells(runs: Sequence[Figures]) -> Iterator[str]:
    backs = [figures.back_after for figures in runs]
    yield f"{mean([f.success for f in runs]):.2%}"
    yield f"{sum(f.crashes for f in runs)}"
    yield f"{mean([f.first_packet_p99 for f in runs]):.3f}"
    yield f"{mean([f.late for f in runs]):.1%}"
    yield f"{mean([f.used for f in runs]):.1%}"
    yield f"{mean([f.busy for f in runs]):.1%}"
    yield f"{mean(backs):.1f}"
    yield "never" if None in backs else f"{max(back for back in backs if back is not None):.1f}"
    ejected = mean([f.first_ejection for f in runs])
    yield "-" if ejected != ejected else f"{ejected:.1f}"


def show(name: str, row: Sequence[str]) -> None:
    print(f"{name:34}" + "".join(f"{cell:>9}" for cell in row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="make sim", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5, help="runs of each case [5]")
    parser.add_argument("--seed", type=int, default=1, help="of the first run [1]")
    args = parser.parse_args()
    began = monotonic()
    show("sidecars", COLUMNS)
    for name, case in cases():
        seeds = range(args.seed, args.seed + args.seeds)
        show(name, list(cells([run(replace(case, seed=seed)) for seed in seeds])))
    print(f"seeds {args.seed} to {args.seed + args.seeds - 1}; took {monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
