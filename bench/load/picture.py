"""The figures as a picture: four panels of bars, readable on light and on dark pages.

In:      the figures of the sections.
Out:     the text of an SVG file.
Limits:  a bar that would make all others dots (LiteLLM's) is cut, and says so with its number.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

Figures = dict[str, Any]
WIDTH, PANEL, NAMES, ROW, TOP = 920, 440, 104, 22, 80
ROOM = PANEL - NAMES - 110  # for bars; behind them stand their numbers
CUT = 4.0  # times the largest of the others
STYLE = """\
text{font:12px system-ui,sans-serif;fill:#23262b}.h{font-size:16px;font-weight:600}.p{font-weight:600}
.s{fill:#5c626b}.o{fill:#9aa1ab}.m{fill:#2f6fde}.w{stroke:#23262b}
@media(prefers-color-scheme:dark){text{fill:#e8eaed}.s{fill:#a3a9b3}.o{fill:#79818c}.m{fill:#6c9cf5}.w{stroke:#e8eaed}}"""


class Bar(NamedTuple):
    name: str
    value: float
    least: float
    most: float


class Panel(NamedTuple):
    title: str
    unit: str
    bars: list[Bar]


def picture(figures: Figures, machine: str) -> str:
    panels = [panel for panel in _panels(figures) if panel.bars]
    rows = [panels[at : at + 2] for at in range(0, len(panels), 2)]
    parts, y = [], TOP
    for row in rows:
        parts += [_draw(panel, 20 + at * PANEL, y) for at, panel in enumerate(row)]
        y += max(len(panel.bars) for panel in row) * ROW + 48
    title = '<text class="h" x="20" y="26">One core, side by side: less is better</text>'
    title += f'<text class="s" x="20" y="46">{escape(machine)}</text>'
    frame = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}"'
    body = "\n".join([title, *parts])
    return f"<svg {frame}>\n<style>{STYLE}</style>\n{body}\n</svg>\n"


def _panels(figures: Figures) -> list[Panel]:
    return [
        Panel("CPU a small request, 64 connections", "us", _cpu(figures, "json64")),
        Panel("CPU a chunk, 200 streams", "us", _cpu(figures, "sse200")),
        Panel("Time a request takes longer than without, 2000 a second", "us", _added(figures)),
        Panel("Resident memory, idle", "MiB", _memory(figures)),
    ]


def _cpu(figures: Figures, case: str) -> list[Bar]:
    peers = figures.get(case, {}).get("peers", {})
    shown = {name: of["cpu_us"] for name, of in peers.items() if "cpu_us" in of and name != "sidecar-traced"}
    return [Bar(name, of["median"], of["min"], of["max"]) for name, of in shown.items()]


def _added(figures: Figures) -> list[Bar]:
    peers = figures.get("rate2000", {}).get("peers", {})
    if "direct" not in peers:
        return []
    without = peers["direct"]["whole_us"]["p50"]["median"]
    times = {name: of["whole_us"]["p50"] for name, of in peers.items() if name != "direct"}
    return [
        Bar(name, of["median"] - without, of["min"] - without, of["max"] - without)
        for name, of in times.items()
    ]


def _memory(figures: Figures) -> list[Bar]:
    sizes = {name: of["idle"]["resident"] for name, of in figures.get("standing", {}).items()}
    return [Bar(name, size, size, size) for name, size in sizes.items()]


def _draw(panel: Panel, x: int, y: int) -> str:
    scale = _scale([bar.most for bar in panel.bars])
    parts = [f'<text class="p" x="{x}" y="{y}">{escape(panel.title)}, {panel.unit}</text>']
    for at, bar in enumerate(panel.bars):
        base = y + 12 + at * ROW
        length = min(bar.value, scale) / scale * ROOM
        mine = "m" if bar.name.startswith("sidecar") else "o"
        label = f"{bar.value:.0f}" if bar.value >= 100 else f"{bar.value:.1f}"
        parts.append(
            f'<text x="{x}" y="{base + 12}">{escape(bar.name)}</text>'
            f'<rect class="{mine}" x="{x + NAMES}" y="{base}" width="{length:.1f}" height="{ROW - 6}" rx="2"/>'
        )
        end = x + NAMES + length
        if bar.value > scale:
            label += ", cut"
        elif bar.most > bar.least:
            first, last = (x + NAMES + min(value, scale) / scale * ROOM for value in (bar.least, bar.most))
            end, middle = max(end, last), base + (ROW - 6) / 2
            parts.append(f'<line class="w" x1="{first:.1f}" x2="{last:.1f}" y1="{middle}" y2="{middle}"/>')
        parts.append(f'<text class="s" x="{end + 6:.1f}" y="{base + 12}">{label}</text>')
    return "\n".join(parts)


def _scale(values: Sequence[float]) -> float:
    """The largest value, unless it dwarfs the others; then the largest of those."""
    *others, largest = sorted(values)
    return max(largest if not others or largest <= CUT * others[-1] else others[-1], 1e-9)
