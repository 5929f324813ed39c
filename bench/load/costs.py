"""What costs what: differences of CPU a request or a chunk between two measurements of the sidecar.

In:      the figures of the sections.
Out:     lines with microseconds; only what has been measured.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Figures = dict[str, Any]
PLAIN = ("json64", "sidecar")


class Cost(NamedTuple):
    what: str
    more: tuple[str, str]  # case, contender
    less: tuple[str, str] = PLAIN


COSTS = (
    Cost("a log line a request", ("json64", "sidecar-log")),
    Cost("log, 1 % of traces, a scrape a second, an event watcher", ("json64", "sidecar-all")),
    Cost("a trace of every request", ("json64", "sidecar-traced")),
    Cost("heads that are not remembered", ("heads64", "sidecar")),
    Cost("TLS to the upstream", ("tls64", "sidecar")),
    Cost("an attempt that fails, and the fallback", ("fallback64", "sidecar")),
    Cost("the app on the Unix socket instead of TCP", ("json64-unix", "sidecar")),
    Cost("1 MiB in and 64 KiB out, instead of little", ("mib", "sidecar")),
    Cost("streams: log, traces, scrape, watcher, a chunk", ("sse200", "sidecar-all"), ("sse200", "sidecar")),
)


def costs(figures: Figures) -> list[tuple[str, float, float]]:
    """What, microseconds more, microseconds in all."""
    found = []
    for cost in COSTS:
        more, less = _cpu(figures, *cost.more), _cpu(figures, *cost.less)
        if more is not None and less is not None:
            found.append((cost.what, more - less, more))
    return found


def _cpu(figures: Figures, case: str, peer: str) -> float | None:
    of = figures.get(case, {}).get("peers", {}).get(peer, {})
    value: float | None = of.get("cpu_us", {}).get("median")
    return value


def show(figures: Figures) -> str:
    plain = _cpu(figures, *PLAIN)
    lines = [f"what costs what: CPU us beyond those of a plain request ({plain:.1f})" if plain else ""]
    lines += [f"  {what:58}{more:+9.1f}   ={whole:8.1f}" for what, more, whole in costs(figures)]
    return "\n".join(lines)
