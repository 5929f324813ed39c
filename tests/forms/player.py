"""Plays scripts in one form of the data path: `python -m tests.forms.player plain|compiled FIRST LAST [PLAY ...]`.

Out:     a line for each script on stdout: play, seed, and all that was seen, in JSON.
Errors:  ends at once where the form is not there.
Rule:    nothing of `sidecar` is imported before the form and the clock are chosen.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from tests.forms.invented import BEGIN, Clock, Loop


def _choose(form: str, clock: Clock) -> None:
    if form == "plain":
        from bench.plain import import_sources

        import_sources()
    clock.install()
    from sidecar.wire import heads

    assert str(heads.__file__).endswith(".py" if form == "plain" else ".so"), heads.__file__


def main(form: str, first: int, last: int, names: list[str]) -> None:
    clock = Clock()
    _choose(form, clock)
    from tests.forms import plays, rooms

    loop = Loop(clock)
    on_stage = (plays.connections, plays.cuts)
    alone = (
        rooms.heads,
        rooms.chunks,
        rooms.bodies,
        rooms.streams,
        rooms.answers,
        rooms.plans,
        rooms.limits,
        rooms.shown,
    )

    def on(play: Callable[[Loop, int], list[str]], seed: int) -> list[str]:
        clock.now = BEGIN
        return play(loop, seed)

    for seed in range(first, last):
        for play in on_stage:
            if play.__name__ in names:
                print(json.dumps([play.__name__, seed, on(play, seed)]))
        for room in alone:
            if room.__name__ in names:
                print(json.dumps([room.__name__, seed, room(seed)]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
