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
    from grpc_tools import protoc  # a build dependency only

    package = out / "llmsidecar" / "v1"
    package.mkdir(parents=True, exist_ok=True)
    for old in package.glob("*_pb2*"):
        old.unlink()
    common = ["protoc", f"-I{HERE}", f"-I{files('grpc_tools') / '_proto'}"]
    runs = [[*common, f"--python_out={out}", f"--pyi_out={out}", *map(str, SOURCES)]]
    services = [str(s) for s in SOURCES if s.name in WITH_SERVICES]
    runs.append([*common, f"--grpc_python_out={out}", *services])
    for arguments in runs:
        if code := protoc.main(arguments):
            raise RuntimeError(f"protoc ended with {code}")
    for name in ("llmsidecar/__init__.py", "llmsidecar/v1/__init__.py", "llmsidecar/py.typed"):
        (out / name).touch()


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
