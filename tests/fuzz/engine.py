"""One target under atheris: `python -m tests.fuzz.engine TARGET [libFuzzer's own arguments]`.

In:      a target's name; folders of seeds, the first of which takes what is found to reach new code.
Out:     a file for a finding, where libFuzzer is told to put it; its exit code.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from bench.plain import import_sources


def main() -> None:
    name, *arguments = sys.argv[1:]
    import_sources()  # of what is compiled atheris would see nothing
    atheris: Any = importlib.import_module("atheris")  # by name: it has no build for every platform
    with atheris.instrument_imports(include=["sidecar.wire", "sidecar.exchange", "sidecar.attempt.classify"]):
        targets = importlib.import_module("tests.fuzz.targets")
    atheris.Setup([sys.argv[0], *arguments], targets.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
