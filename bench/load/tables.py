"""Figures as text: one table a case, a row a contender."""

from __future__ import annotations

from typing import Any

Figure = dict[str, float]


def case_table(name: str, found: dict[str, Any]) -> str:
    unit = found["unit"]
    streams = unit == "chunk"
    head = ["", f"{unit}s/s", "min", "max", f"CPU us/{unit}", "min", "max", "core", "user", "others"]
    head += ["hop p50 us", "p99"] if streams else ["p50 us", "p99"]
    rows = [head, *(_row(peer, of, streams=streams) for peer, of in found["peers"].items())]
    lines = [f"{name}: {found['what']}", *columns(rows)]
    for pair, ratio in found["cpu_ratios"].items():
        lines.append(f"  CPU {pair} = {ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})")
    for pair, ratio in found["rate_ratios"].items():
        lines.append(f"  {unit}s/s {pair} = {ratio['median']:.0f}")
    return "\n".join(lines)


def _row(peer: str, of: dict[str, Any], *, streams: bool) -> list[str]:
    times = of.get("hop_us" if streams else "whole_us")
    row = [peer, *(_number(of["rate"][part]) for part in ("median", "min", "max"))]
    if "cpu_us" in of:
        row += [f"{of['cpu_us'][part]:.1f}" for part in ("median", "min", "max")]
        row += [f"{of['core']['median']:.0%}", f"{of['user']:.0%}", f"{of['others']:.0%}"]
    else:
        row += ["-"] * 6
    row += [_number(times[part]["median"]) for part in ("p50", "p99")] if times else ["-", "-"]
    if of["wrong"]:
        row.append(f"{of['wrong']} WRONG of {of['wrong'] + of['units']}")
    return row


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def columns(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows if at < len(row)) for at in range(max(map(len, rows)))]
    lines = []
    for row in rows:
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=False))
        lines.append("  " + row[0].ljust(len(first)) + "  " + "  ".join(rest))
    return lines
