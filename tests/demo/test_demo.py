"""`sidecar demo` as a user starts it: a process of its own, real sockets, the real daemon."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from sidecar.demo.app import ask
from sidecar.terms import UnixAddress, parse_address

from .peer import run

COMMAND = [sys.executable, "-m", "sidecar", "demo"]
QUICK = ["--calm", "1s", "--surge-for", "5s", "--recovery", "5s"]


@contextmanager
def demo(*options: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A running demo whose files are in that folder; killed if it is still there in the end."""
    process = subprocess.Popen(
        [*COMMAND, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], word: str) -> list[str]:
    """The lines up to the first with that word."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if word in line:
            return lines
    raise AssertionError(f"no {word!r} in {lines}")


def test_it_shows_surge_ejection_and_fallback_without_a_failed_request(tmp_path: Path) -> None:
    """The main job of the whole project, in eight seconds."""
    with demo("--seconds", "8", *QUICK, folder=tmp_path) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    story = out[out.index("CALM: ") :]
    first = out.splitlines()[:20]
    assert any(line.startswith("curl ") for line in first)
    assert any(line.startswith("grpcurl ") for line in first)
    assert story.index("SURGE: ") < story.index("EJECTED: self-hosted") < story.index("Summary")
    assert "fallback: vendor answered for self-hosted: no first packet within 200 ms" in story
    requests = re.search(r"requests +(\d+): (\d+) answered whole, 0 failed", story)
    assert requests is not None
    assert requests[1] == requests[2]
    assert int(requests[1]) > 40
    assert "\x1b" not in out
    assert list(tmp_path.iterdir()) == []


def test_its_addresses_answer_and_an_interrupt_ends_it_quietly(tmp_path: Path) -> None:
    """What is printed first can be pasted at once."""
    with demo("--calm", "60s", folder=tmp_path) as process:
        first = "\n".join(until(process, "CALM: "))
        data = re.search(r"^curl -N http://([^/]+)/v1/chat/completions ", first, re.MULTILINE)
        unix = re.search(r"^curl -N --unix-socket (\S+) http://localhost/v1/", first, re.MULTILINE)
        page = re.search(r"http://\S+/metrics", first)
        assert data is not None
        assert unix is not None
        assert page is not None
        for address in (parse_address(data[1]), UnixAddress(unix[1])):
            assert run(ask(address, tokens=3)).problem == ""
        with urlopen(page[0], timeout=10) as answer:
            assert b"sidecar_requests_total" in answer.read()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert "Summary" in out
    assert " 0 failed" in out
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    """`sidecar demo | head` is no error."""
    with demo("--calm", "60s", folder=tmp_path) as process:
        until(process, "curl")
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == ""
        process.stdout = None


def test_a_terminal_that_is_closed_ends_it_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """The shell's hang-up comes first, and what is still said meets no terminal."""
    ours, its = os.openpty()
    process = subprocess.Popen(
        [*COMMAND, "--calm", "60s"],
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        os.close(its)
        said = b""
        while b"CALM: " not in said:
            said += os.read(ours, 4096)
        os.close(ours)
        assert process.wait(timeout=30) == 0
        assert list(tmp_path.iterdir()) == []
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "options", [["--surge", "0"], ["--seconds", "x"], ["--surge-for", "0", "--recovery", "0"]]
)
def test_bad_usage_is_told_before_anything_starts(options: list[str]) -> None:
    """With exit code 2, as for all commands."""
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected" in done.stderr or "no positive number" in done.stderr


def test_for_programs_every_line_is_an_object_from_the_addresses_to_the_summary(tmp_path: Path) -> None:
    with demo("--json", "--seconds", "2", *QUICK, folder=tmp_path) as process:
        assert process.stdout is not None
        told = [json.loads(line) for line in process.stdout]
        assert process.wait(20) == 0
    events = [one["event"] for one in told]
    assert (events[0], events[1], events[-1]) == ("addresses", "phase", "summary")
    assert events.count("second") >= 2
    assert told[0]["ops"].startswith("127.0.0.1:")
