"""Playwright for Python, in a folder of its own: 150 MiB with its driver, too much for every `make setup`.

Out:     a folder for PYTHONPATH. The browser is the machine's Chromium.
"""

import sys
from pathlib import Path

from tests.itest.peers.install import built, run

PLAYWRIGHT = "1.65.2"


def playwright() -> Path:
    def build(work: Path) -> Path:
        wanted = f"playwright=={PLAYWRIGHT}"
        run(work, sys.executable, "-m", "pip", "install", "--quiet", "--target", str(work / "lib"), wanted)
        return work / "lib"

    return built("playwright", PLAYWRIGHT, build)
