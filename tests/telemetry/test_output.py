"""Writing to what others share: never waiting, never changing it under their feet."""

from __future__ import annotations

import fcntl
import os
import pty
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.telemetry.output import Output


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def _fill(output: Output) -> int:
    """Writes until nothing more is taken."""
    total = 0
    while taken := output.write(b"x" * 65536):
        total += taken
    return total


def test_a_pipe_that_nobody_reads_takes_what_fits_and_then_nothing(pipe: tuple[int, int]) -> None:
    """The data path runs on the same thread: it must not wait for a log reader."""
    output = Output(pipe[1])
    assert _fill(output) >= 4096
    output.close()


def test_the_shared_pipe_itself_stays_blocking(pipe: tuple[int, int]) -> None:
    """Every process of the container writes to it; most cannot handle EAGAIN."""
    output = Output(pipe[1])
    _fill(output)
    assert not fcntl.fcntl(pipe[1], fcntl.F_GETFL) & os.O_NONBLOCK
    output.close()
    os.fstat(pipe[1])


def test_without_a_second_opening_poll_keeps_it_from_blocking(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe made by another user cannot be opened again."""

    def refused(path: str, flags: int) -> int:
        raise PermissionError(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refused)
        output = Output(pipe[1])
    assert _fill(output) >= 4096
    os.read(pipe[0], 65536)
    assert output.write(b"y" * 10000) == 4096
    output.close()


def test_a_socket_that_nobody_reads_takes_what_fits_and_then_nothing() -> None:
    """A supervisor may hand over a socket as stdout."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        output = Output(ours.fileno())
        assert _fill(output) > 0
        assert ours.getblocking()
        output.close()


def test_a_terminal_gets_its_lines() -> None:
    """People look at it too."""
    controller, terminal = pty.openpty()
    output = Output(terminal)
    assert output.write(b"hello\n") == 6
    assert os.read(controller, 100) == b"hello\r\n"
    assert not fcntl.fcntl(terminal, fcntl.F_GETFL) & os.O_NONBLOCK
    output.close()
    os.close(controller)
    os.close(terminal)


def test_a_file_is_written_where_the_others_are(tmp_path: Path) -> None:
    """`(one; sidecar) > file` shares one position."""
    with (tmp_path / "log").open("wb", buffering=0) as file:
        file.write(b"before\n")
        output = Output(file.fileno())
        output.write(b"ours\n")
        file.write(b"after\n")
        output.close()
    assert (tmp_path / "log").read_bytes() == b"before\nours\nafter\n"


def test_a_pipe_whose_reader_is_gone_is_an_error() -> None:
    """The caller counts what is lost."""
    reading, writing = os.pipe()
    output = Output(writing)
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        output.write(b"x")
    output.close()
    os.close(writing)
