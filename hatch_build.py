"""Build hook of both wheels: generates `llmsidecar.v1` from the schema before files are collected, and compiles the
data path where there is a C compiler (docs/adr/0008).

SIDECAR_COMPILE   0: nothing is compiled; 1: a build that cannot compile fails; unset: it goes on in plain Python
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAME = "sidecar__mypyc"  # of the one library that all compiled modules are in
FLAGS = [
    "-Wno-error",  # of a compiler that is newer than mypyc
    # Every pod keeps the library in memory: with -O2 these take a third off what -O3 makes of it, and no speed.
    "-fvisibility=hidden",
    "-fno-asynchronous-unwind-tables",
    "-fno-align-functions",
    "-fno-align-jumps",
    "-fno-align-loops",
    "-fno-align-labels",
]
LINKING = [  # each of them only where it can be had
    "-Wl,-z,pack-relative-relocs",  # what is to be relocated takes 6 KiB, not 190, all of which is read at each start
    "-Wl,-z,noseparate-code",  # two pages less of each of the small libraries through which modules are imported
]
TRIED = """\
static int one, *volatile pointer = &one;
__attribute__((constructor)) static void follow(void) { *pointer = 1; }
"""
# What mypyc calls where something went wrong. A compiler that knows moves those blocks, a quarter of the code, out of
# the way and makes them small. A name that mypyc gives up does no harm here.
RARE = """\
struct _object;
__attribute__((cold)) void CPy_AddTraceback(const char *, const char *, int, struct _object *);
__attribute__((cold)) void CPy_TypeErrorTraceback(
    const char *, const char *, int, struct _object *, const char *, struct _object *);
__attribute__((cold)) void CPy_AttributeError(
    const char *, const char *, const char *, const char *, int, struct _object *);
__attribute__((cold)) void CPy_TypeError(const char *, struct _object *);
__attribute__((cold)) void CPyError_OutOfMemory(void);
__attribute__((cold)) static void CPy_DecRef(struct _object *);
__attribute__((cold)) static void CPy_XDecRef(void *);
__attribute__((cold)) void PyErr_SetString(struct _object *, const char *);
"""


class BuildHook(BuildHookInterface):
    """proto/generate.py into build/proto, which the wheel (or the editable install) takes in; then mypyc."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        home = root if (root / "proto").is_dir() else root.parent.parent
        sys.path.insert(0, str(home / "proto"))
        from generate import generate

        generate(home / "build" / "proto")
        modules = self.config.get("compiled", ())
        if not modules or self.target_name != "wheel":
            return  # the client's wheel, or an sdist: that has sources alone
        setting = os.environ.get("SIDECAR_COMPILE", "")
        if setting not in ("", "0", "1"):
            raise ValueError(f"SIDECAR_COMPILE={setting!r}: expected 0, 1 or nothing")
        if version == "editable":
            for old in in_place(root):
                old.unlink()
        if setting == "0":
            return
        try:
            built = compile_modules(root, modules)
        except Exception as error:
            if setting == "1":
                raise
            self.app.display_warning(f"the data path stays plain Python: {error}")
            return
        for path in built.rglob("*.so"):
            place = path.relative_to(built)
            if version == "editable":
                shutil.copy(path, root / place)
            else:
                build_data["force_include"][str(path)] = str(place)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def in_place(root: Path) -> Iterator[Path]:
    """Compiled modules beside their sources, of an editable install."""
    yield from root.glob(f"{NAME}*.so")
    yield from (root / "sidecar").rglob("*.so")


def hindrance() -> str:
    """Why nothing can be compiled here; empty: nothing is in the way."""
    name = compiler()[0]
    if shutil.which(name) is None:
        return f"there is no C compiler ({name})"
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    return "" if headers.exists() else f"there is no {headers}"


def compiler() -> list[str]:
    """The C compiler, with the arguments it comes with."""
    return (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()


def is_had(flag: str, folder: Path) -> bool:
    """Whether a library that is linked with it can be made here, and loaded with its pointers right."""
    source, library = folder / "tried.c", folder / "tried.so"
    source.write_text(TRIED)
    link = [*compiler(), "-shared", "-fPIC", flag, str(source), "-o", str(library)]
    load = [sys.executable, "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", str(library)]
    return all(subprocess.run(command, capture_output=True).returncode == 0 for command in (link, load))


def compile_modules(root: Path, modules: Sequence[str]) -> Path:
    """The folder with the compiled modules, as they lie in a wheel. RuntimeError: it cannot be done here."""
    if why := hindrance():
        raise RuntimeError(why)
    from mypyc.build import mypycify
    from setuptools import Distribution

    work, out = root / "build" / "mypyc", root / "build" / "compiled"
    shutil.rmtree(out, ignore_errors=True)
    os.chdir(root)
    checks = [
        "--config-file=",
        "--follow-imports=silent",
        "--ignore-missing-imports",
        "--explicit-package-bases",
    ]
    try:
        extensions = mypycify(
            [*checks, *modules],
            opt_level="2",
            debug_level="0",
            multi_file=True,
            group_name="sidecar",
            target_dir=str(work),
        )
    except SystemExit as error:  # so it ends where the types are wrong; what is wrong it has printed
        raise RuntimeError("mypyc refuses the sources") from error
    rare = work / "rare.h"
    rare.write_text(RARE)
    linking = [flag for flag in LINKING if is_had(flag, work)]
    for extension in extensions:
        extension.extra_compile_args += [*FLAGS, "-include", str(rare)]
        extension.extra_link_args += linking
    command = Distribution({"name": "sidecar", "ext_modules": extensions}).get_command_obj("build_ext")
    command.build_temp, command.build_lib, command.parallel = str(work / "temp"), str(out), os.cpu_count()
    command.ensure_finalized()
    command.run()
    return out
