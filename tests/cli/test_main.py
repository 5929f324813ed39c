"""Rules of `python -m sidecar`: help, usage, exit codes, and no tracebacks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import grpc
import pytest

from sidecar.cli.parser import COMMANDS
from tests.cli.terminal import sidecar
from tests.client.daemon import Daemon, Script, running
from tests.client.messages import endpoint, event, recovered

ADMIN_COMMANDS = [
    ["policy", "get"],
    ["policy", "history"],
    ["policy", "rollback", "1"],
    ["policy", "confirm"],
    ["endpoints"],
    ["eject", "s", "e"],
    ["restore", "s", "e"],
    ["events"],
    ["explain"],
    ["top"],
]


def test_the_version_is_that_of_the_distribution() -> None:
    """One place says it."""
    assert sidecar("--version").out == f"sidecar {version('llm-ha-sidecar')}\n"


def test_help_names_every_command_and_every_exit_code() -> None:
    """It is the first thing that a newcomer reads."""
    told = sidecar("--help")
    assert told.code == 0
    listed = [line.split()[0] for line in told.out.splitlines() if line.startswith("    ")]
    assert [name for name in COMMANDS if name not in listed] == []
    assert "3 daemon not reachable" in told.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str) -> None:
    """An example says more than a list of options."""
    told = sidecar(command, "--help")
    assert told.code == 0
    assert "examples:" in told.out


@pytest.mark.parametrize(
    "arguments",
    [[], ["polcy"], ["eject", "s"], ["policy"], ["events", "--after", "-1"], ["top", "--interval", "1"]],
)
def test_bad_usage_exits_with_2(arguments: list[str]) -> None:
    """And says what was expected."""
    told = sidecar(*arguments)
    assert told.code == 2
    assert "usage: sidecar" in told.err


@pytest.mark.parametrize("arguments", [["--config", "{}"], ["--config={}"], ["--conf", "{}"]])
def test_run_means_the_same_with_and_without_argparse(arguments: list[str], tmp_path: Path) -> None:
    """The plain form is understood by hand, to keep argparse out of the pod; every other by argparse."""
    told = sidecar("run", *(argument.format(tmp_path / "none.yaml") for argument in arguments))
    assert (told.code, told.err) == (2, f"{tmp_path}/none.yaml: cannot be read: No such file or directory\n")


def test_run_without_a_file_takes_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIDECAR_CONFIG", f"{tmp_path}/none.yaml")
    for arguments in ([], ["--config", ""]):
        assert f"{tmp_path}/none.yaml: cannot be read" in sidecar("run", *arguments).err


@pytest.mark.parametrize("arguments", [["--config"], ["--config", "--help"], ["sidecar.yaml"]])
def test_run_refuses_what_it_does_not_understand(arguments: list[str]) -> None:
    told = sidecar("run", *arguments)
    assert told.code == 2
    assert "usage: sidecar" in told.err


@pytest.mark.parametrize("arguments", ADMIN_COMMANDS, ids=" ".join)
def test_a_daemon_that_does_not_run_exits_with_3_and_one_line(arguments: list[str], tmp_path: Path) -> None:
    """The line has the address, the reason and the remedy."""
    told = sidecar(*arguments, "--admin", f"unix:{tmp_path}/none.sock")
    assert (told.code, told.out) == (3, "")
    assert told.err == (
        f"sidecar: daemon not reachable at unix:{tmp_path}/none.sock: there is no such socket; "
        "start the daemon with `sidecar run`, or name its address with --admin or $SIDECAR_ADMIN\n"
    )


def test_a_port_where_nobody_listens_exits_with_3() -> None:
    """Port 1 of loopback is nobody's."""
    told = sidecar("endpoints", "--admin", "127.0.0.1:1")
    assert told.code == 3
    assert "127.0.0.1:1: nothing answers there;" in told.err


def test_a_socket_that_a_dead_daemon_left_exits_with_3(tmp_path: Path) -> None:
    """The file is there, and nobody behind it."""
    import socket

    path = f"{tmp_path}/dead.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    told = sidecar("endpoints", "--admin", f"unix:{path}")
    assert told.code == 3
    assert "nobody answers on that socket;" in told.err


def test_an_address_that_is_none_exits_with_2() -> None:
    """It would be looked up as a name otherwise."""
    told = sidecar("endpoints", "--admin", "admin.sock")
    assert (told.code, told.err) == (
        2,
        "sidecar: 'admin.sock' is no admin address; expected unix:/path or host:port\n",
    )


def test_half_of_mutual_tls_exits_with_2(tmp_path: Path) -> None:
    """All three files, or none."""
    told = sidecar("endpoints", "--admin-ca", f"{tmp_path}/ca.pem")
    assert told.code == 2
    assert "belong together" in told.err


def test_a_daemon_behind_mutual_tls_is_reached_with_all_three_files(tmp_path: Path) -> None:
    """And not without them: it does not even speak to the others."""
    certificate, key = _self_signed(tmp_path)
    pair = [(key.read_bytes(), certificate.read_bytes())]
    credentials = grpc.ssl_server_credentials(pair, certificate.read_bytes(), require_client_auth=True)
    with running(Daemon(endpoints=[endpoint()]), tmp_path, credentials) as daemon:
        files = ("--admin-ca", str(certificate), "--admin-cert", str(certificate), "--admin-key", str(key))
        told = sidecar("endpoints", "--admin", daemon.address, *files)
        assert (told.code, len(told.lines)) == (0, 2)
        assert sidecar("endpoints", "--admin", daemon.address).code == 3


def _self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that is its own authority, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is needed to make a certificate")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    new = (openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    name = ("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    files = ("-keyout", str(key), "-out", str(certificate))
    subprocess.run([*new, *name, *files], capture_output=True, check=True)
    return certificate, key


@pytest.mark.parametrize("command", ["policy", "endpoints", "eject", "restore", "events", "top"])
def test_declaring_a_parser_imports_nothing_heavy(command: str) -> None:
    """A help page should not cost the start of gRPC."""
    script = (
        "import sys; from sidecar.__main__ import main; code = main(sys.argv[1:]);"
        "print([m for m in ('grpc', 'yaml', 'google.protobuf', 'rich', 'uvloop') if m in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, command, "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_goes_away_is_no_error(daemon: Daemon) -> None:
    """`sidecar events | head -1` ends as soon as it writes again, without a word."""
    daemon.scripts = [Script([recovered(number) for number in range(1, 20_000)])]
    with _process("events") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"service_recovered" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_ctrl_c_ends_a_command_that_follows_quietly(daemon: Daemon) -> None:
    """It is the ordinary way out, so the code is 0."""
    daemon.scripts = [Script([event(1, "snapshot")])]
    with _process("events") as process:
        assert process.stdout is not None
        assert b"snapshot" in process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        assert process.communicate(timeout=20) == (b"", b"")
    assert process.returncode == 0


@contextmanager
def _process(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command line in a process of its own, which does not outlive the test."""
    command = [sys.executable, "-m", "sidecar", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        timer = threading.Timer(30, process.kill)
        timer.start()
        try:
            yield process
            process.wait()
        finally:
            timer.cancel()
            process.kill()


def test_an_unexpected_error_is_one_line(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback is for whoever asks for it."""
    monkeypatch.setenv("SIDECAR_ADMIN", daemon.address)
    daemon.endpoints[0].since.seconds = -(2**62)  # no such time
    told = sidecar("endpoints", "--json")
    assert told.code == 1
    assert told.err.startswith("sidecar: ValueError: ")
    assert told.err.endswith("(SIDECAR_DEBUG=1 shows where)\n")
    monkeypatch.setenv("SIDECAR_DEBUG", "1")
    with pytest.raises(ValueError):
        sidecar("endpoints", "--json")
