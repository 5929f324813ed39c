"""Samples become figures: medians with the least and the most of the rounds, and ratios between contenders.

Out:     plain dictionaries, as they are kept in JSON.
Rule:    a ratio is taken within each round, then the median of the rounds: what slows the machine down for a
         while slows down both.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from bench.load.cases import Case
from bench.load.driver import Sample
from bench.load.rounds import Samples

Figure = dict[str, float]


def spread(values: Sequence[float]) -> Figure:
    return {"median": median(values), "min": min(values), "max": max(values)}


def figures(case: Case, samples: Samples) -> dict[str, Any]:
    return {
        "what": case.what,
        "unit": case.unit,
        "peers": {name: _of_peer(taken) for name, taken in samples.items()},
        "cpu_ratios": {
            f"{name}/{other}": spread(_ratios(samples[name], samples[other], cost=True))
            for name in samples
            for other in ("haproxy", "envoy")
            if name.startswith("sidecar") and other in samples
        },
        "rate_ratios": {
            f"{name}/litellm": spread(_ratios(samples[name], samples["litellm"], cost=False))
            for name in samples
            if name.startswith("sidecar") and any(sample.rate for sample in samples.get("litellm", ()))
        },
    }


def _of_peer(taken: Sequence[Sample]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "rate": spread([sample.rate for sample in taken]),
        "wrong": sum(sample.wrong for sample in taken),
        "units": sum(sample.units for sample in taken),
        "others": max(sample.others for sample in taken),
    }
    for name in ("whole_us", "first_packet_us", "hop_us"):
        if all(name in sample.seen for sample in taken):
            found[name] = {
                part: spread([sample.seen[name][part] for sample in taken]) for part in ("p50", "p99", "p999")
            }
    if all(sample.cpu is not None and sample.units for sample in taken):
        found["cpu_us"] = spread([sample.cost for sample in taken])
        found["core"] = spread([s.cpu.total / s.seen["seconds"] for s in taken if s.cpu is not None])
        found["user"] = median(s.cpu.user / max(s.cpu.total, 1e-9) for s in taken if s.cpu is not None)
    return found


def _ratios(mine: Sequence[Sample], theirs: Sequence[Sample], *, cost: bool) -> list[float]:
    pairs = zip(mine, theirs, strict=True)
    if cost:
        return [one.cost / other.cost for one, other in pairs]
    return [one.rate / other.rate for one, other in pairs if other.rate]
