"""`make sim`: prints the figures of the surge for 1 to 50 sidecars, cancelling or not, killed or not."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from time import monotonic

from bench.sim.surge import Case, Figures, run


# A server of one's own that comes back: asked once a second, and fully used soon after.
PROBED = {"base_ejection_time": 1.0, "max_ejection_time": 1.0, "ramp": 3.0}


def cases(seed: int) -> Iterable[tuple[str, Case]]:
    for count in (1, 5, 20, 50):
        for cancels in (True, False):
            does = "cancels" if cancels else "computes on"
            yield f"{count} sidecars, server {does}", Case(count, cancels, seed=seed)
    for count in (1, 20):
        yield f"{count}, cancels and is known to", Case(count, known=True, seed=seed)
    for count in (1, 20):
        yield f"{count}, killed, probed once a second", Case(count, killed=True, passive=PROBED, seed=seed)
        yield f"{count}, killed, default ejection", Case(count, killed=True, seed=seed)
    for count in (1, 20):
        yield f"{count}, adaptive off", Case(count, adaptive=False, seed=seed)


def line(name: str, all_of_them: list[Figures]) -> str:
    def mean(values: Iterable[float]) -> float:
        listed = list(values)
        return sum(listed) / len(listed) if listed else float("nan")

    backs = [f.back_after for f in all_of_them if f.back_after is not None]
    ejections = [f.first_ejection for f in all_of_them if f.first_ejection is not None]
    return (
        f"{name:32}{mean(f.success for f in all_of_them):8.2%}{sum(f.crashes for f in all_of_them):8d}"
        f"{mean(f.first_packet_p99 for f in all_of_them):7.3f}{mean(f.late for f in all_of_them):8.1%}"
        f"{mean(f.used for f in all_of_them):8.1%}{mean(f.busy for f in all_of_them):8.1%}{mean(backs):7.1f}{max(backs, default=float('nan')):7.1f}"
        f"{mean(ejections):8.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="runs of each case")
    parser.add_argument("--seed", type=int, default=1, help="the first of them")
    args = parser.parse_args()
    began = monotonic()
    print(f"{'':32} success crashes    p99    late    used    busy   back  worst  1st ejection")
    for name in [name for name, _ in cases(0)]:
        runs = [run(dict(cases(seed))[name]) for seed in range(args.seed, args.seed + args.seeds)]
        print(line(name, runs), flush=True)
    print(f"seeds {args.seed} to {args.seed + args.seeds - 1}, {monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
