"""Checks the schema: what is generated from it is fresh, and buf finds nothing to say. Changes nothing.

In:      the .proto files beside this script, build/proto, docs/configuration.md, proto/buf.yaml.
Out:     exit code 0, or 1 with what is wrong on stderr.
Peers:   buf comes from npm at a fixed version, once, into $SIDECAR_PEERS_DIR or .peers. Where that cannot be had,
         its part is skipped with one line; under CI=true that is a failure, so that nobody relies on a skip.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from filecmp import cmp
from pathlib import Path
from tempfile import TemporaryDirectory

from generate import generate
from reference import reference

BUF = "@bufbuild/buf@1.75.0"
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILT = ROOT / "build" / "proto"
REFERENCE = ROOT / "docs" / "configuration.md"


def stale_files(built: Path) -> list[str]:
    """Generated files that differ from what the schema says now, are missing, or have lost their source."""
    with TemporaryDirectory() as name:
        fresh = Path(name)
        generate(fresh)
        wanted, found = _python_files(fresh), _python_files(built)
        differing = [file for file in wanted & found if not cmp(fresh / file, built / file, shallow=False)]
        return sorted([*differing, *(wanted ^ found)])


def lint() -> tuple[bool, str]:
    """Whether buf is content, and what it or we have to say."""
    buf = _installed_buf()
    if isinstance(buf, str):
        return os.environ.get("CI") != "true", f"buf skipped: {buf}"
    result = subprocess.run([buf, "lint", HERE], capture_output=True, text=True, check=False)
    return result.returncode == 0, (result.stdout + result.stderr).strip()


def main() -> int:
    stale = stale_files(BUILT)
    if stale:
        print(
            f"build/proto is not what the schema says; run `make proto`: {', '.join(stale)}", file=sys.stderr
        )
    outdated = REFERENCE.read_text(encoding="utf-8") != reference()
    if outdated:
        print(f"{REFERENCE.name} is not what the schema says; run `make proto`", file=sys.stderr)
    content, said = lint()
    if said:
        print(said, file=sys.stderr)
    return 1 if stale or outdated or not content else 0


def _python_files(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder)) for path in folder.rglob("*_pb2*.py*") if path.suffix in (".py", ".pyi")
    }


def _installed_buf() -> Path | str:
    """The path of buf, or why there is none."""
    peers = Path(os.environ.get("SIDECAR_PEERS_DIR") or ROOT / ".peers") / BUF.replace("/", "-").lstrip("@")
    buf = peers / "node_modules" / ".bin" / "buf"
    if buf.exists():
        return buf
    npm = shutil.which("npm")
    if npm is None:
        return "npm not found"
    peers.mkdir(parents=True, exist_ok=True)
    # Its binary comes as a package of its own, so its install script is not needed and not run.
    options = ["--prefix", str(peers), "--ignore-scripts", "--no-audit", "--no-fund", "--no-save"]
    done = subprocess.run([npm, "install", *options, BUF], capture_output=True, text=True, check=False)
    if done.returncode or not buf.exists():
        return f"npm could not install {BUF}: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"
    return buf


if __name__ == "__main__":
    sys.exit(main())
