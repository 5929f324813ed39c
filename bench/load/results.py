"""What is kept: figures by section in one JSON file, and the same as text beside it.

In:      sections as they are measured; one measured again replaces what was there.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import sysconfig
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.load.peers.install import ENVOY, LITELLM
from bench.load.picture import picture
from bench.load.tools import CORES, ROOT, Missing, tool


class Results:
    """`stem` None: nothing is kept."""

    def __init__(self, stem: Path | None) -> None:
        self._stem = stem
        self.sections: dict[str, Any] = {}
        if stem is not None and stem.with_suffix(".json").exists():
            self.sections = json.loads(stem.with_suffix(".json").read_text())["sections"]

    def add(self, name: str, found: dict[str, Any]) -> None:
        commit = _said("git", "-C", str(ROOT), "describe", "--always", "--dirty")
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self.sections[name] = {"commit": commit, "at": at, "figures": found}

    def figures(self) -> dict[str, Any]:
        return {name: section["figures"] for name, section in self.sections.items()}

    def keep(self, text: str) -> None:
        if self._stem is None:
            return
        self._stem.parent.mkdir(parents=True, exist_ok=True)
        whole = {"machine": machine(), "sections": self.sections}
        self._stem.with_suffix(".json").write_text(json.dumps(whole, indent=1) + "\n")
        self._stem.with_suffix(".txt").write_text(text)
        self._stem.with_suffix(".svg").write_text(
            picture(self.figures(), ", ".join(list(machine().values())[:3]))
        )


def machine() -> dict[str, str]:
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    flags = sysconfig.get_config_var("PY_CFLAGS_NODIST") or ""
    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    optimised = "with" if "-fprofile" in flags or "--enable-optimizations" in arguments else "without"
    return {
        "cpu": f"{models[0].partition(':')[2].strip() if models else platform.processor()}, {len(CORES)} cores",
        "kernel": platform.release(),
        "python": f"{platform.python_version()}, built {optimised} profile-guided optimisation",
        "uvloop": version("uvloop"),
        "nginx": _tool_says("nginx", "-v"),
        "haproxy": _tool_says("haproxy", "-v"),
        "envoy": ENVOY,
        "litellm": LITELLM,
    }


def _tool_says(name: str, flag: str) -> str:
    try:
        return _said(tool(name), flag)
    except Missing:
        return "missing"


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return next(iter((done.stdout + done.stderr).splitlines()), "?")


def heading() -> str:
    lines = [f"{name:8} {what}" for name, what in machine().items()]
    return "\n".join([f"make bench, or python -m bench.load {' '.join(sys.argv[1:])}", *lines])
