"""A bounded run of the fuzzer: `python -m tests.fuzz [TARGET …] [--seconds N]`, N for each target.

In:      seeds beside this file, the raw cases of tests/corpus, the crashers kept so far; and what earlier runs
         found to reach new code, which is kept in build/fuzz.
Out:     a line a target; a finding is a file in tests/fuzz/crashers, which `make test` replays from then on.
Exit:    0: nothing found; 1: something was; 2: atheris is not there.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
from hashlib import sha1

from tests.fuzz.borrowed import borrowed
from tests.fuzz.targets import CRASHERS, HERE, SEEDS, TARGETS

WORK = HERE.parent.parent / "build" / "fuzz"
_RUNS = re.compile(r"^#(\d+)\s+DONE\s+cov: (\d+) ft: \d+ corp: (\d+)", re.MULTILINE)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all if none")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    given = parser.parse_args()
    if unknown := set(given.targets) - TARGETS.keys():
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if importlib.util.find_spec("atheris") is None:
        print(
            "atheris is not installed: it has builds for Linux on x86-64, up to Python 3.13", file=sys.stderr
        )
        return 2
    found = [name for name in given.targets or TARGETS if not fuzz(name, given.seconds)]
    return 1 if found else 0


def fuzz(name: str, seconds: int) -> bool:
    """Whether nothing was found."""
    work, seeds, crashers = WORK / name, SEEDS / name, CRASHERS / name
    for folder in (work, crashers):
        folder.mkdir(parents=True, exist_ok=True)
    for data in borrowed().get(name, ()):
        (work / sha1(data).hexdigest()).write_bytes(data)
    arguments = [
        f"-max_total_time={seconds}",
        f"-artifact_prefix={crashers}/",
        f"-dict={HERE / 'words.dict'}",
        "-max_len=1024",
        "-timeout=10",
        *map(str, (work, seeds, crashers)),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.engine", name, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd=HERE.parent.parent,
    )
    if not any(crashers.iterdir()):
        crashers.rmdir()
    runs = _RUNS.search(done.stderr)
    if done.returncode == 0 and runs is not None:
        print(
            f"{name}: {runs[1]} runs, {runs[2]} places reached, {runs[3]} inputs kept; nothing found",
            flush=True,
        )
        return True
    print(f"{name}: FOUND (exit {done.returncode})\n{_story(done)}", flush=True)
    return False


def _story(done: subprocess.CompletedProcess[str]) -> str:
    """The traceback and where the finding is kept; all of it where there is no traceback."""
    text = done.stdout + done.stderr
    begin = text.find("Uncaught Python exception")
    return text[max(begin, 0) :][:4000]


if __name__ == "__main__":
    sys.exit(main())
