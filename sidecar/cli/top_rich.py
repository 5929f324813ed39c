"""The live drawing of `sidecar top`; the only module that needs rich.

Out:     the alternate screen, redrawn in place; what does not fit is the oldest events.
Errors:  ImportError on import when rich is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from llmsidecar.v1 import health_pb2 as pb
from rich import box
from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sidecar.cli.describe import COOLING_HEADER, ENDPOINT_HEADER, EVENT_STYLE, endpoint_row
from sidecar.cli.table import Cell, Styled, clean
from sidecar.cli.top_model import WINDOW, ServiceFigures, TopModel, availability, event_row, time_or_dash

STYLES = {"good": "green", "bad": "red", "warn": "yellow", "dim": "dim", "head": "bold"}
HUES = ("bright_blue", "dark_orange", "turquoise2", "orchid", "deep_pink3", "yellow3")
BLOCKS = "▁▂▃▄▅▆▇█"
WIDE = 128  # columns of a terminal that has room for everything
NARROW = 100  # with less than that only what fits into 80 is shown
LONGEST_NAME = 16  # of a service, in a narrow terminal
FEWEST_EVENTS = 3

Draw = Callable[[str, TopModel, Sequence[pb.Endpoint], datetime], None]


@contextmanager
def live() -> Iterator[Draw]:
    """The alternate screen for as long as the context lasts; yields what draws one view."""
    with Live(screen=True, auto_refresh=False) as display:

        def draw(status: str, model: TopModel, endpoints: Sequence[pb.Endpoint], now: datetime) -> None:
            size = display.console.size
            display.update(view(status, model, endpoints, now, size.width, size.height), refresh=True)

        yield draw


def view(
    status: str,
    model: TopModel,
    endpoints: Sequence[pb.Endpoint],
    now: datetime,
    width: int = 160,
    height: int = 50,
) -> RenderableType:
    """One view as something rich can draw."""
    wide, narrow = width >= WIDE, width < NARROW
    services = model.services(endpoints, now)
    ways = model.ways()[:FEWEST_EVENTS]
    cooling = model.left_alone(now)
    used = 2 + (len(services) + 3) + (len(endpoints) + 3) + 2
    used += sum(len(rows) + 3 for rows in (cooling, ways) if rows)
    parts = [
        _headline(status if wide else "", model, endpoints, services, narrow=narrow),
        _services(services, wide=wide, narrow=narrow),
        _endpoints(endpoints, now, wide=wide, narrow=narrow),
    ]
    if cooling:
        parts.append(_cooling(cooling))
    if ways:
        parts.append(_ways(ways))
    return Group(*parts, _events(model.newest(max(FEWEST_EVENTS, height - used))))


def _headline(
    status: str,
    model: TopModel,
    endpoints: Sequence[pb.Endpoint],
    services: Sequence[ServiceFigures],
    *,
    narrow: bool,
) -> RenderableType:
    there = [figures for figures in services if figures.endpoints]
    out = [_name(figures.name, narrow=narrow) for figures in there if not figures.up]
    full = [_name(figures.name, narrow=narrow) for figures in there if figures.at_limit == figures.up]
    up = sum(figures.up for figures in services)
    if model.lost or model.blind:
        verdict = Text(" BLIND ", style="bold white on red")
    elif out:
        verdict = Text(f" {', '.join(out)} OUT OF ROTATION ", style="bold white on red")
    elif up < len(endpoints):
        verdict = Text(f" {len(endpoints) - up} OF {len(endpoints)} OUT ", style="bold black on yellow")
    elif full:
        verdict = Text(f" {', '.join(full)} AT ITS LIMIT ", style="bold black on yellow")
    elif model.cooling:
        alone = dict.fromkeys(_name(scope.service, narrow=narrow) for scope in model.cooling)
        verdict = Text(f" {', '.join(alone)} LEFT ALONE IN PART ", style="bold black on yellow")
    else:
        verdict = Text(" ALL IN ROTATION ", style="bold black on green")
    rate = sum(figures.rate for figures in services)
    rate_and_policy = f"{rate:.1f} answers/s   policy generation {model.generation or '?'}"
    cells = [verdict, Text(model.lost or model.blind or rate_and_policy)]
    if not narrow:
        end = Text(f"{clean(status)}   Ctrl-C ends it", style="dim")
        cells = [Text("sidecar top", style="bold"), *cells, end]
    line = Table.grid(expand=True, padding=(0, 2))
    for cell in cells:
        line.add_column(justify="right" if cell is cells[-1] else "left", no_wrap=True, overflow="ellipsis")
    line.add_row(*cells)
    return Group(line, Text(""))


def _services(services: Sequence[ServiceFigures], *, wide: bool, narrow: bool) -> RenderableType:
    slowest = max((wait for figures in services for wait in figures.course if wait is not None), default=0.0)
    table = _table()
    course = f"FIRST PACKET, up to {time_or_dash(slowest or None)}" if wide else "FIRST PACKET"
    for name in ("SERVICE", "UP", "SHARE OF ANSWERS" if wide else "SHARE"):
        table.add_column(name, no_wrap=True)
    for name in ("/s", "FAILED", "IN FLIGHT", "p50", "p99"):
        if wide or name != "IN FLIGHT":
            table.add_column(name, justify="right", no_wrap=True)
    table.add_column(course, no_wrap=True)
    if not narrow:  # else the table of fallbacks has to do
        table.add_column("FELL BACK", justify="right", no_wrap=True)
    for place, figures in enumerate(services):
        table.add_row(*_service(figures, HUES[place % len(HUES)], slowest, wide=wide, narrow=narrow))
    return _panel(f"Services, last {WINDOW:.0f} s", table)


def _service(figures: ServiceFigures, hue: str, slowest: float, *, wide: bool, narrow: bool) -> list[Text]:
    failed = figures.failed / figures.attempts if figures.attempts else 0.0
    course = figures.course if wide else figures.course[-12:]
    row = [
        Text.assemble(("● ", hue), (_name(figures.name, narrow=narrow), "bold")),
        _text(availability(figures)),
        _share(figures.share, hue, 18 if wide else 0 if narrow else 8),
        Text(f"{figures.rate:.1f}"),
        Text(f"{failed:.0%}", style="red" if failed else "dim"),
        *([Text(str(figures.in_flight))] if wide else []),
        Text(time_or_dash(figures.p50)),
        Text(time_or_dash(figures.p99)),
        Text(sparkline(course, slowest), style=hue),
    ]
    if not narrow:
        row.append(Text(str(figures.fell_back), style="yellow" if figures.fell_back else "dim"))
    return row


def _share(share: float | None, hue: str, cells: int) -> Text:
    filled = round(cells * (share or 0.0))
    told = "   -" if share is None else f"{share:4.0%}"
    return Text.assemble(
        ("━" * filled, hue), ("━" * (cells - filled), "grey23"), f" {told}" if cells else told
    )


def sparkline(course: Sequence[float | None], top: float) -> str:
    """A block for each step, empty where nothing came."""
    steps = len(BLOCKS) - 1
    return "".join(
        " " if wait is None else BLOCKS[round(steps * wait / top) if top else 0] for wait in course
    )


def _name(service: str, *, narrow: bool) -> str:
    name = clean(service)
    return f"{name[: LONGEST_NAME - 1]}…" if narrow and len(name) > LONGEST_NAME else name


def _endpoints(
    endpoints: Sequence[pb.Endpoint], now: datetime, *, wide: bool, narrow: bool
) -> RenderableType:
    hidden = () if wide else ("REQUESTS", "FAILED") if narrow else ("IN FLIGHT", "REQUESTS")
    shown = [place for place, name in enumerate(ENDPOINT_HEADER) if name not in hidden]
    table = _table()
    table.expand = True
    for place in shown:
        last = place == shown[-1]
        table.add_column(ENDPOINT_HEADER[place], no_wrap=True, overflow="ellipsis", ratio=1 if last else None)
    for endpoint in endpoints:
        row = endpoint_row(endpoint, now)
        row[0] = _name(endpoint.service, narrow=narrow)
        table.add_row(*(_text(row[place]) for place in shown))
    return _panel("Endpoints", table)


def _cooling(rows: Sequence[Sequence[Cell]]) -> RenderableType:
    table = _table()
    for name in COOLING_HEADER:
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*map(_text, row))
    return _panel("Left alone", table)


def _ways(ways: Sequence[tuple[tuple[str, str, str], int]]) -> RenderableType:
    table = _table()
    for name in ("FROM", "TO", "REASON"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    table.add_column("REQUESTS", justify="right")
    for (origin, target, reason), count in ways:
        table.add_row(clean(origin), Text(clean(target)), Text(clean(reason), style="yellow"), str(count))
    return _panel(f"Fallbacks, last {WINDOW:.0f} s", table)


def _events(events: Sequence[pb.HealthEvent]) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False, expand=True)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for event in events:
        at, kind, words = event_row(event)
        style = STYLES[EVENT_STYLE.get(str(kind), "dim")]
        table.add_row(_text(at), Text(clean(str(kind)), style=style), _text(words))
    return _panel("Events", table)


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


def _panel(title: str, content: RenderableType) -> Panel:
    return Panel(
        content, title=Text(title, style="bold"), title_align="left", box=box.ROUNDED, border_style="grey42"
    )


def _text(cell: Cell) -> Text:
    text, style = cell if isinstance(cell, Styled) else (cell, "")
    return Text(clean(text), style=STYLES.get(style, ""))
