"""Text for terminals: tables, colours when somebody looks, and nothing that could drive the terminal.

In:      cells, plain or with a style; strings may come from outside.
Out:     lines. Colours only on a terminal, and not under NO_COLOR.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple, TextIO

STYLES = {"good": "32", "bad": "31", "warn": "33", "dim": "2", "head": "1"}


class Styled(NamedTuple):
    """A text with the name of a style out of STYLES."""

    text: str
    style: str


Cell = str | Styled


def wants_colour(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def clean(text: str) -> str:
    """The text on one line, with control characters made visible: a reason may quote somebody's answer."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def paint(cell: Cell, *, colour: bool, width: int = 0) -> str:
    """The cell padded to `width`, in its colour."""
    text, style = cell if isinstance(cell, Styled) else (cell, "")
    padded = clean(text).ljust(width)
    return f"\x1b[{STYLES[style]}m{padded}\x1b[0m" if colour and style else padded


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]], *, colour: bool) -> list[str]:
    """Left-aligned columns, two spaces apart; the last one is as long as it likes."""
    lines = [[Styled(name, "head") for name in header], *rows]
    widths = [max(len(clean(_text(line[i]))) for line in lines) for i in range(len(header))]
    widths[-1] = 0
    return [
        "  ".join(
            paint(cell, colour=colour, width=width) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]


def _text(cell: Cell) -> str:
    return cell.text if isinstance(cell, Styled) else cell
