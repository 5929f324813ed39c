"""A picture of a surge, like an operator's dashboard: four panels over one time, as SVG.

In:      the notes of a scene.
Out:     the text of an SVG file; it needs nothing but a browser.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from bench.surge.case import CALM, SURGE, Asked, Case, Notes
from bench.surge.figures import Figures, first_packets, quantile
from sidecar.demo.config import FIRST_PACKET

WIDTH, HEIGHT, LEFT, RIGHT, TOP, PANEL, GAP = 1000, 760, 64, 20, 84, 140, 30
PLOT = WIDTH - LEFT - RIGHT
GREEN, ORANGE, RED, BLUE, GREY, INK = "#3a9a5b", "#e08a2c", "#c8402f", "#3465a4", "#8a8f98", "#23262b"
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#23262b}.t{font-size:18px;font-weight:600}.s{fill:#5c626b}"
    ".p{font-weight:600}.g{stroke:#e3e6ea;stroke-width:1}"
)

Points = Sequence[tuple[float, float]]


class Line(NamedTuple):
    """One row of values of a panel."""

    name: str
    colour: str
    points: Points
    filled: bool = False


def picture(case: Case, notes: Notes, figures: Figures) -> str:
    seconds = range(int(case.length))
    begun = [[one for one in notes.asked if int(one.at) == second] for second in seconds]
    parts = [
        _title(case, figures),
        _shade(case),
        _panel(case, 0, "requests a second, by who answered", _served(begun)),
        _panel(case, 1, "first packet, ms", _packets(begun), FIRST_PACKET * 1000),
        _panel(case, 2, "in flight at the primary", _in_flight(notes), notes.spec.slots),
        _panel(case, 3, "memory of the primary, %", _memory(notes), 100.0),
    ]
    frame = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}"'
    body = "\n".join(parts)
    return f'<svg {frame}>\n<style>{STYLE}</style>\n<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'


# What the panels show.


def _served(begun: Sequence[Sequence[Asked]]) -> list[Line]:
    def count(second: Sequence[Asked], *, primary: bool | None) -> int:
        return sum(one.by_primary is primary or primary is None for one in second)

    failed = [
        (i + 0.5, sum(one.answer is None or bool(one.answer.problem) for one in second))
        for i, second in enumerate(begun)
    ]
    return [
        Line(
            "fallback", ORANGE, [(i + 0.5, count(s, primary=None)) for i, s in enumerate(begun)], filled=True
        ),
        Line("primary", GREEN, [(i + 0.5, count(s, primary=True)) for i, s in enumerate(begun)], filled=True),
        Line("failed", RED, failed),
    ]


def _packets(begun: Sequence[Sequence[Asked]]) -> list[Line]:
    seen = [(i + 0.5, first_packets(second)) for i, second in enumerate(begun)]
    return [
        Line("p99", RED, [(at, quantile(values, 0.99) * 1000) for at, values in seen if values]),
        Line("p50", BLUE, [(at, quantile(values, 0.5) * 1000) for at, values in seen if values]),
    ]


def _in_flight(notes: Notes) -> list[Line]:
    limits = [(s.at, s.limit) for s in notes.samples if s.limit is not None]
    most = 2.0 * notes.spec.slots + max((s.in_flight for s in notes.samples), default=0)
    in_flight = [(s.at, float(s.in_flight)) for s in notes.samples]
    lines = [Line("in flight", BLUE, in_flight, filled=True)]
    if limits:
        lines.append(Line("limit, all sidecars", INK, [(at, min(limit, most)) for at, limit in limits]))
    return lines


def _memory(notes: Notes) -> list[Line]:
    return [Line("", GREY, [(s.at, 100.0 * s.memory) for s in notes.samples], filled=True)]


# How they are drawn.


def _title(case: Case, figures: Figures) -> str:
    server = "cancels" if case.cancels else "computes on for callers who are gone"
    told = (
        f"{figures.success:.1%} answered whole, {figures.crashes} crashes, first packet p99 "
        f"{figures.first_packet_p99 * 1000:.0f} ms, {figures.late:.1%} late, {figures.used:.0%} of the primary's "
        f"capacity used, back {figures.back_after:.1f} s after"
    )
    return (
        f'<text class="t" x="{LEFT}" y="30">Surge of four times the capacity: {escape(case.name)}, '
        f'a server that {escape(server)}</text>\n<text class="s" x="{LEFT}" y="52">{escape(told)}</text>'
    )


def _shade(case: Case) -> str:
    x, width = _x(case, CALM), SURGE / case.length * PLOT
    height = 4 * PANEL + 3 * GAP
    return (
        f'<rect x="{x:.1f}" y="{TOP}" width="{width:.1f}" height="{height}" fill="#fbf3e6"/>'
        f'<text class="s" x="{x + 4:.1f}" y="{TOP - 4}">surge</text>'
    )


def _panel(case: Case, place: int, name: str, lines: Sequence[Line], mark: float | None = None) -> str:
    base = TOP + place * (PANEL + GAP) + PANEL
    most = max((value for line in lines for _, value in line.points), default=1.0)
    scale = _round_up(max(most, mark or 0.0, 1.0))

    def y(value: float) -> float:
        return base - value / scale * (PANEL - 18)

    parts = [f'<text class="p" x="{LEFT}" y="{base - PANEL + 12}">{escape(name)}</text>']
    for value in (0.0, scale / 2, scale):
        parts.append(
            f'<line class="g" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
            f'<text class="s" x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    if mark is not None:
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(mark):.1f}" y2="{y(mark):.1f}" stroke="{GREY}" '
            'stroke-dasharray="4 4"/>'
        )
    for number, line in enumerate(lines):
        parts.append(_draw(case, line, y))
        at = WIDTH - RIGHT - 150 * (len(lines) - number)
        if line.name:
            parts.append(
                f'<rect x="{at}" y="{base - PANEL + 3}" width="10" height="10" fill="{line.colour}"/>'
                f'<text class="s" x="{at + 15}" y="{base - PANEL + 12}">{escape(line.name)}</text>'
            )
    if place == 3:
        for second in range(0, int(case.length) + 1, 10):
            parts.append(
                f'<text class="s" x="{_x(case, second):.1f}" y="{base + 18}" text-anchor="middle">{second} s</text>'
            )
    return "\n".join(parts)


def _draw(case: Case, line: Line, y: Callable[[float], float]) -> str:
    if not line.points:
        return ""
    points = " ".join(f"{_x(case, at):.1f},{y(value):.1f}" for at, value in line.points)
    if not line.filled:
        return f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="1.6"/>'
    first, last = _x(case, line.points[0][0]), _x(case, line.points[-1][0])
    points = f"{first:.1f},{y(0.0):.1f} {points} {last:.1f},{y(0.0):.1f}"
    return f'<polygon points="{points}" fill="{line.colour}" fill-opacity="0.75"/>'


def _x(case: Case, at: float) -> float:
    return LEFT + min(at, case.length) / case.length * PLOT


def _round_up(value: float) -> float:
    """To what a scale may end with."""
    size = 10.0 ** (len(str(int(value))) - 1)
    return next(step * size for step in (1, 2, 3, 4, 5, 6, 8, 10) if step * size >= value)
