"""Rules of sidecar.cli.table."""

from __future__ import annotations

import io

import pytest

from sidecar.cli.table import Cell, Styled, clean, paint, table, wants_colour

ROWS: list[list[Cell]] = [["a", Styled("up", "good"), "fine"], ["longer", Styled("down", "bad"), ""]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_columns_line_up_and_no_line_has_blanks_at_its_end() -> None:
    """So that it can be cut and compared."""
    assert table(("NAME", "IS", "WHY"), ROWS, colour=False) == [
        "NAME    IS    WHY",
        "a       up    fine",
        "longer  down",
    ]


def test_colours_do_not_shift_columns() -> None:
    """Their codes have no width."""
    painted = table(("NAME", "IS", "WHY"), ROWS, colour=True)
    assert painted[1] == "a       \x1b[32mup  \x1b[0m  fine"


def test_control_characters_are_shown_and_not_obeyed() -> None:
    """A reason may quote what an LLM service answered."""
    assert clean("a\x1b[2Jb\nc") == "a\\x1b[2Jb\\nc"
    assert paint("\x07", colour=False) == "\\x07"


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe gets plain text; NO_COLOR and a dumb terminal are obeyed."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert wants_colour(Terminal())
    assert not wants_colour(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not wants_colour(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour(Terminal())
