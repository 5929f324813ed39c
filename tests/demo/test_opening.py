"""The first lines of the demo."""

from __future__ import annotations

import subprocess

from sidecar.demo.gpu import GpuSpec
from sidecar.demo.opening import Addresses, opening

AT = Addresses("/tmp/d/llm.sock", "127.0.0.1:8800", "/tmp/d/admin.sock", "127.0.0.1:8801", "127.0.0.1:8802")
LINES = opening(AT, GpuSpec(), "sidecar")


def test_a_shell_takes_all_lines_as_they_are() -> None:
    """Who pastes everything at once gets no syntax error, here document included."""
    checked = subprocess.run(
        ["sh", "-n"], input="\n".join(LINES), text=True, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_python_of_the_snippet_compiles() -> None:
    """It has to stand at the margin."""
    text = "\n".join(LINES)
    code = text.split("<<'END'\n")[1].split("\nEND")[0]
    assert "http://127.0.0.1:8800/v1" in code
    compile(code, "snippet", "exec")


def test_every_address_has_a_command() -> None:
    """Ask over TCP and over the Unix socket, watch by command, by gRPC and in a browser."""
    commands = [line for line in LINES if line and not line.startswith("#")]
    assert commands[0].startswith("curl -N http://127.0.0.1:8800/v1/chat/completions ")
    assert commands[1].startswith("curl -N --unix-socket /tmp/d/llm.sock http://localhost/v1/")
    assert "sidecar top --admin unix:/tmp/d/admin.sock" in commands
    grpcurl = "grpcurl -plaintext -unix /tmp/d/admin.sock llmsidecar.v1."
    assert grpcurl + "HealthService/WatchHealthEvents" in commands
    assert grpcurl + "PolicyService/GetPolicy" in commands
    assert any("http://127.0.0.1:8802/ " in line for line in LINES)
