"""Running the command line inside a test: the real `main`, with what it printed and how it ended."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass

from sidecar.__main__ import main


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def sidecar(*arguments: str) -> Ended:
    """`sidecar ARGUMENTS…`"""
    with captured() as (out, err):
        code = main(arguments)
    return Ended(code, out.getvalue(), err.getvalue())


@contextmanager
def captured() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        yield out, err
