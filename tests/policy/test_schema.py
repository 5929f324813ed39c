"""The check of the schema itself, as `make check` runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROTO = Path(__file__).resolve().parents[2] / "proto"


def stale_files(built: Path) -> list[str]:
    code = "import sys; from pathlib import Path; from check import stale_files; print(*stale_files(Path(sys.argv[1])))"
    run = [sys.executable, "-c", code, str(built)]
    return subprocess.run(run, cwd=PROTO, capture_output=True, text=True, check=True).stdout.split()


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("proto")
    subprocess.run([sys.executable, str(PROTO / "generate.py"), str(built)], check=True)
    return built


def test_generated_code_is_compared_file_by_file(generated: Path) -> None:
    """Code of an older schema runs, and silently drops the fields it does not know."""
    package = generated / "llmsidecar" / "v1"
    assert stale_files(generated) == []
    (package / "policy_pb2.py").write_text("# older\n")
    (package / "health_pb2.py").unlink()
    (package / "gone_pb2.py").touch()
    names = ("gone_pb2.py", "health_pb2.py", "policy_pb2.py")
    assert stale_files(generated) == [f"llmsidecar/v1/{name}" for name in names]


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_without_npm_the_lint_is_skipped_but_not_in_ci(tmp_path: Path, ci: str, code: int) -> None:
    """A skip on a laptop is help, in CI it would be a hole."""
    environment = {**os.environ, "PATH": str(tmp_path), "SIDECAR_PEERS_DIR": str(tmp_path), "CI": ci}
    script = "from check import lint; content, said = lint(); print(said); raise SystemExit(not content)"
    run = [sys.executable, "-c", script]
    done = subprocess.run(run, cwd=PROTO, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("buf skipped: npm not found\n", code)
