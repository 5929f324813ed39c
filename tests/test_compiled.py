"""The compiled form of the data path: complete where there is one, and the list of it true."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from tests.compiled import ROOT, libraries, sources


def test_the_list_names_files_that_are_there() -> None:
    assert [str(path) for path in sources() if not path.is_file()] == []
    assert sources() == sorted(set(sources()))


def test_no_coroutine_is_compiled() -> None:
    """From Python 3.12 on each exception that one passes on is a warning, which may be an error."""
    compiled = [
        path
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.AsyncFunctionDef)
    ]
    assert compiled == []


def test_all_of_the_list_is_compiled_or_nothing() -> None:
    """Half of it would be two daemons in one: compiled modules know each other's objects by their layout."""
    if not libraries():
        pytest.skip("the data path is not compiled here")
    for source in sources():
        name = ".".join(source.relative_to(ROOT).with_suffix("").parts)
        file = importlib.import_module(name).__file__
        assert file is not None
        assert Path(file).suffix == ".so", name
