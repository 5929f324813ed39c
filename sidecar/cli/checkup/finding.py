"""One thing that was looked at: how it stands and, if not well, what to do."""

from __future__ import annotations

from typing import Literal, NamedTuple

Status = Literal["ok", "warn", "fail"]


class Finding(NamedTuple):
    """`remedy` is empty where nothing is to be done."""

    status: Status
    check: str  # config, secrets, sockets, daemon, network, clock, limits, state
    what: str
    remedy: str = ""


def ok(check: str, what: str) -> Finding:
    return Finding("ok", check, what)


def warn(check: str, what: str, remedy: str) -> Finding:
    return Finding("warn", check, what, remedy)


def fail(check: str, what: str, remedy: str) -> Finding:
    return Finding("fail", check, what, remedy)
