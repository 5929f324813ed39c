"""A module that is loaded later: absent until it is wanted, and whole then."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

UNUSED = "google.protobuf.internal.python_message"
BEGIN = f"import sys; from sidecar.cli.later import load_later; load_later({UNUSED!r});"


def _run(code: str, **environ: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", BEGIN + code], capture_output=True, text=True, env={**os.environ, **environ}
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_messages_work_without_what_they_do_not_use() -> None:
    code = (
        "from sidecar.policy import load; found = load(b'listen: [127.0.0.1:0]');"
        "print(len(found.problems), [m for m in ('google.protobuf.text_format', 'pickle') if m in sys.modules])"
    )
    assert _run(code) == "1 []\n"  # no policy is written


def test_whoever_asks_for_something_of_it_gets_the_real_module() -> None:
    code = (
        "from llmsidecar.v1 import policy_pb2; from google.protobuf.internal import python_message as asked;"
        "print(asked.GeneratedProtocolMessageType.__module__);"
        f"print(sys.modules[{UNUSED!r}].GeneratedProtocolMessageType is asked.GeneratedProtocolMessageType)"
    )
    assert _run(code) == f"{UNUSED}\nTrue\n"


@pytest.mark.parametrize("implementation", ["python", "upb"])
def test_either_implementation_of_protobuf_does(implementation: str) -> None:
    """Where there is no wheel with the one in C, the other is in use, and is loaded as ever."""
    code = "from sidecar.policy import load; print(len(load(b'listen: [127.0.0.1:0]').problems))"
    assert _run(code, PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=implementation) == "1\n"


def test_a_module_that_is_in_a_package_comes_with_it() -> None:
    code = "load_later('html'); from html.entities import html5; import html; print(html.escape('<'), len(html5) > 0)"
    assert _run(code) == "&lt; True\n"


def test_threads_that_ask_at_once_get_the_same_module() -> None:
    code = (
        "from threading import Barrier, Thread; sys.setswitchinterval(1e-6);"
        "found, together = [], Barrier(8, timeout=10);"
        "names = ['wave', 'colorsys', 'fileinput', 'netrc', 'quopri']; load_later(*names);"
        "held = [sys.modules[n] for n in names];"
        "ask = lambda: [(together.wait(), found.append(id(m.__file__))) for m in held];"
        "threads = [Thread(target=ask) for _ in range(8)];"
        "[t.start() for t in threads]; [t.join() for t in threads];"
        "print(len(found), len(set(found)), {type(sys.modules[n]).__name__ for n in names})"
    )
    assert _run(code) == "40 5 {'module'}\n"


def test_a_module_that_is_there_already_stays() -> None:
    code = (
        "import json; before = sys.modules['json']; load_later('json'); print(sys.modules['json'] is before)"
    )
    assert _run(code) == "True\n"
