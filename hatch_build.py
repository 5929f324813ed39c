"""Build hook of both wheels: generates `llmsidecar.v1` from the schema before files are collected."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class GenerateProto(BuildHookInterface):
    """Runs proto/generate.py into build/proto, which the wheel (or the editable install) takes in."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        home = root if (root / "proto").is_dir() else root.parent.parent
        sys.path.insert(0, str(home / "proto"))
        from generate import generate

        generate(home / "build" / "proto")
