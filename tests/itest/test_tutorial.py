"""docs/tutorial.md, to the letter: its commands against a demo, in the order of a reader.

Not its first block, `make run`, for the demo is the test's own; addresses and the request's id are those of this run.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.itest

ROOT = Path(__file__).parents[2]
WRITTEN_ID = "8d0490290a18c496"
SURGES = ("--calm", "1s", "--surge-for", "8s", "--recovery", "8s")


def blocks() -> list[str]:
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@contextmanager
def demo() -> Iterator[dict[str, Any]]:
    """The addresses of a demo that surges."""
    command = [sys.executable, "-m", "sidecar", "demo", "--json", *SURGES]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


@dataclass
class Reader:
    """Somebody at a shell; what one block sets the next ones have."""

    folder: Path
    at: dict[str, Any]
    before: str = ""

    def types(self, block: str) -> str:
        """What it prints; every command has to succeed."""
        done = subprocess.run(
            ["bash", "-c", f"set -e\n{self.before}\n{self._here(block)}"],
            cwd=self.folder,
            env={**os.environ, "COLUMNS": "120"},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def sets(self, block: str) -> None:
        assert self.types(block) == ""
        self.before += self._here(block)

    def _here(self, block: str) -> str:
        real = {
            "127.0.0.1:8800": self.at["data"],
            "127.0.0.1:8801": self.at["admin"],
            " .venv/bin/activate": f" {Path(sys.executable).parent}/activate",
            "/tmp/": f"{self.folder}/",
        }
        # All at once: what stands in for one may hold another, as a checkout below /tmp does.
        return re.sub("|".join(map(re.escape, real)), lambda written: real[written[0]], block)


def test_every_command_of_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    start, environment, ask, events, endpoints, explain, change, doctor = blocks()
    assert start == "make run\n"
    with demo() as at:
        reader = Reader(tmp_path, at)
        reader.sets(environment)
        answer = reader.types(ask)
        [request_id] = re.findall(r"^x-sidecar-request-id: (\w+)", answer, re.MULTILINE)
        assert "x-sidecar-service: vendor" in answer

        assert WRITTEN_ID in events
        told = reader.types(events.replace(WRITTEN_ID, request_id))
        assert re.search(rf"fallback +self-hosted -> vendor: \w+ \(request {request_id}\)", told)
        assert "self-hosted" in reader.types(endpoints)
        explained = reader.types(explain)
        assert "/v1/chat/completions, model gpt-4o: route /v1#0, policy generation 1" in explained

        changed = reader.types(change)
        assert "-      first_packet: 200ms\n+      first_packet: 2s\n" in changed
        assert "generation 2 runs" in changed
        assert "unless you say: sidecar policy confirm" in changed
        assert "generation 2 stays" in reader.types("sidecar policy confirm")
        assert "is 200ms too hasty?" in reader.types("sidecar policy history")
        assert "with the policy of generation 1" in reader.types("sidecar policy rollback 1")
    assert doctor == "sidecar doctor --config sidecar.yaml\n"
