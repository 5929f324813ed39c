"""What the build does where it cannot compile: it says why, in words, and can go on without."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import mypyc
import pytest

from tests.compiled import ROOT, build


def test_a_compiler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", "/nonexistent/cc -m64")
    assert build.hindrance() == "there is no C compiler (/nonexistent/cc)"
    with pytest.raises(RuntimeError, match="no C compiler"):
        build.compile_modules(tmp_path, ["any.py"])


def test_a_compiler_may_come_with_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", f"{sys.executable} -pthread")
    assert "compiler" not in build.hindrance()
    monkeypatch.setenv("CC", "")
    assert "()" not in build.hindrance()


def test_sources_that_mypy_refuses_are_an_error_and_no_exit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """mypyc leaves by sys.exit, which would end a build that may go on in plain Python."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hatch_build.hindrance", str)
    (tmp_path / "wrong.py").write_text("x: int = ''\n")
    with pytest.raises(RuntimeError, match="mypyc refuses"):
        build.compile_modules(tmp_path, ["wrong.py"])
    assert "wrong.py:1" in capsys.readouterr().out


@pytest.mark.skipif(build.hindrance() != "", reason=build.hindrance())
def test_what_the_linker_does_not_know_is_left_out(tmp_path: Path) -> None:
    assert build.is_had("-lc", tmp_path)
    assert not build.is_had("-Wl,--no-such-flag", tmp_path)


@pytest.mark.skipif(build.hindrance() != "", reason=build.hindrance())
def test_what_is_linked_but_cannot_be_loaded_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A loader that is too old for packed relocations leaves pointers as they are, and whatever follows one dies."""
    monkeypatch.setattr(build, "TRIED", build.TRIED.replace("= &one", "= 0"))
    assert not build.is_had("-lc", tmp_path)


def test_what_is_told_to_be_rare_is_what_mypyc_calls() -> None:
    """A name that it gave up would do no harm, and no good."""
    called = Path(mypyc.__file__).with_name("lib-rt").joinpath("CPy.h").read_text()
    names = re.findall(r"(CPy\w+)\(", build.RARE)
    assert len(names) == 7
    assert [name for name in names if f"{name}(" not in called] == []


def test_an_sdist_has_sources_alone(tmp_path: Path) -> None:
    """It is for machines of every kind: what is compiled is compiled from it."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    environment = {**os.environ, "SIDECAR_COMPILE": "1", "CC": "/nonexistent"}
    subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    (made,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(made) as sources:
        names = sources.getnames()
    assert [name for name in names if name.endswith(".so")] == []
    assert any(name.endswith("/sidecar/outbox.py") for name in names)
