"""Plays scenes many times over in a process that somebody else watches, and waits for its word before and after each.

python -m bench.guard.played TIMES SCENE…            the data path as it is installed
python -m bench.guard.played --plain TIMES SCENE…    its sources

Out:     a line before the counted plays of a scene and a line after them; for each, one is awaited on the input.
Rule:    what is counted is the plays alone: the daemon, the connections and the warm-up are there before.
"""

from __future__ import annotations

import asyncio
import gc
import sys

if PLAIN := "--plain" in sys.argv:
    from bench.plain import import_sources

    import_sources()

import uvloop

from bench.guard.counting import warm
from bench.guard.scenes import LOGGED, SCENES, daemon


async def play(times: int, names: list[str]) -> None:
    for name in names:
        async with daemon(log=name in LOGGED) as running:
            scene = {**SCENES, **LOGGED}[name](running)
            warm(scene)
            scene.begin()
            gc.collect()
            gc.disable()
            meet()
            for _ in range(times):
                scene.hold()
                scene.finish()
                scene.renew()
            meet()
            gc.enable()
            scene.end()


def meet() -> None:
    print(flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    times, *names = sys.argv[2 if PLAIN else 1 :]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(play(int(times), names))
