"""Generates the Python of the schema: `python proto/generate.py OUT` fills OUT/llmsidecar/v1.

In:      the .proto files beside this script.
Out:     *_pb2.py, *_pb2.pyi and *_pb2_grpc.py, and a py.typed; nothing of it is checked in.
Errors:  RuntimeError with protoc's own exit code; protoc prints the place.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = sorted(path.relative_to(HERE) for path in HERE.glob("llmsidecar/v1/*.proto"))
WITH_SERVICES = ("policy.proto", "health.proto")


def generate(out: Path) -> None:
    """Writes the generated package below `out`, replacing what was there."""
    package = out / "llmsidecar" / "v1"
    package.mkdir(parents=True, exist_ok=True)
    for old in package.glob("*_pb2*"):
        old.unlink()
    run_protoc(f"--python_out={out}", f"--pyi_out={out}", *map(str, SOURCES))
    run_protoc(f"--grpc_python_out={out}", *(str(s) for s in SOURCES if s.name in WITH_SERVICES))
    for name in ("llmsidecar/__init__.py", "llmsidecar/v1/__init__.py", "llmsidecar/py.typed"):
        (out / name).touch()


def run_protoc(*arguments: str) -> None:
    """protoc with our schema and Google's common types to import."""
    from grpc_tools import protoc  # a build dependency only

    common = files("grpc_tools") / "_proto"
    if code := protoc.main(["protoc", f"-I{HERE}", f"-I{common}", *arguments]):
        raise RuntimeError(f"protoc ended with {code}")


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
