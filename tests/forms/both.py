"""Plays the same scripts in two processes, one for each form of the data path, and compares what they saw.

In:      seeds, and the names of plays.
Out:     how many scripts were the same; Differs for the first that were not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from itertools import zip_longest

from tests.compiled import ROOT

FORMS = ("plain", "compiled")
ROOMS = ("heads", "chunks", "bodies", "streams", "answers", "plans", "limits", "shown")
PLAYS = ("connections", "cuts", *ROOMS)
BEFORE = 8  # lines that are told before the first that differs


class Differs(AssertionError):
    """What one form did and the other did not."""


def compare(first: int, last: int, plays: Iterable[str] = PLAYS) -> int:
    """Plays all seeds from `first` up to `last`."""
    players = [_player(form, first, last, plays) for form in FORMS]
    count = 0
    try:
        plain, compiled = (player.stdout for player in players)
        assert plain is not None
        assert compiled is not None
        for one, other in zip_longest(plain, compiled):
            if one != other:
                raise Differs(_difference(one, other))
            count += 1
    finally:
        for player in players:
            player.kill()
            player.communicate()
    return count


def _player(form: str, first: int, last: int, plays: Iterable[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.forms.player", form, str(first), str(last), *plays]
    # The order of a set of text must be the same in both.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def _difference(one: str | None, other: str | None) -> str:
    if one is None or other is None:
        return f"only one form goes on: {(one or other or '')[:200]}"
    (name, seed, plain), (_, _, compiled) = json.loads(one), json.loads(other)
    at = next(n for n, pair in enumerate(zip_longest(plain, compiled)) if pair[0] != pair[1])
    told = [f"{name}, seed {seed}:", *plain[max(at - BEFORE, 0) : at]]
    for form, seen in zip(FORMS, (plain, compiled), strict=True):
        told.append(f"{form}: {seen[at] if at < len(seen) else 'nothing more'}")
    return "\n".join(told)
