"""A short run of every fuzz target, as CI has it; `make fuzz` has a longer one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.itest,
    pytest.mark.skipif(
        importlib.util.find_spec("atheris") is None,
        reason="atheris has builds for Linux on x86-64 and up to Python 3.13 only",
    ),
]


def test_a_short_run_finds_nothing() -> None:
    """Coverage leads the fuzzer to new code within seconds; a finding's traceback is the failure's text."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--seconds", "1"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("nothing found") == len(done.stdout.splitlines())
