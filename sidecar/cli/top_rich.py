"""The live drawing of `sidecar top`; the only module that needs rich.

Errors:  ImportError on import when rich is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sidecar.cli.table import Cell, Styled, clean
from sidecar.cli.top_model import Section

STYLES = {"good": "green", "bad": "red", "warn": "yellow", "dim": "dim", "head": "bold"}


@contextmanager
def live() -> Iterator[Callable[[str, list[Section]], None]]:
    """The alternate screen for as long as the context lasts; yields what draws one view."""
    with Live(screen=True, auto_refresh=False) as display:

        def draw(status: str, sections: list[Section]) -> None:
            display.update(view(status, sections), refresh=True)

        yield draw


def view(status: str, sections: list[Section]) -> RenderableType:
    """One view as something rich can draw."""
    header = Text(f"sidecar top   {clean(status)}   Ctrl-C ends it", style="bold")
    return Group(header, *(_table(section) for section in sections))


def _table(section: Section) -> Table:
    drawn = Table(title=section.title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in section.header:
        drawn.add_column(name, header_style="dim", no_wrap=True, overflow="ellipsis")
    for row in section.rows:
        drawn.add_row(*(_text(cell) for cell in row))
    return drawn


def _text(cell: Cell) -> Text:
    text, style = cell if isinstance(cell, Styled) else (cell, "")
    return Text(clean(text), style=STYLES.get(style, ""))
