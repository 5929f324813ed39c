"""`sidecar run` as an operator meets it: ready line, signals, reload, and errors for what is wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from .process import Process, refused, running
from .sidecar import free_port


class _Slow(BaseHTTPRequestHandler):
    """Answers when `release` is set; `asked` tells that a request is in flight."""

    release = threading.Event()
    asked = threading.Event()
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.asked.set()
        self.release.wait(10)
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def slow_llm() -> Any:
    handler: Any = type("Slow", (_Slow,), {"release": threading.Event(), "asked": threading.Event()})
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    server.handler = handler
    yield server
    handler.release.set()
    server.shutdown()
    server.server_close()
    thread.join(5)


def written(tmp_path: Path, url: str, **more: Any) -> dict[str, Any]:
    return {
        "listen": [f"unix:{tmp_path}/llm.sock", "127.0.0.1:0"],
        "admin": {"listen": [f"unix:{tmp_path}/admin.sock", "127.0.0.1:0"]},
        "ops": {"listen": ["127.0.0.1:0"]},
        "policy": {"services": [{"name": "a", "url": url}], "routes": [{"services": ["a"]}]},
        **more,
    }


def test_the_ready_line_names_every_address_and_each_accepts(tmp_path: Path) -> None:
    with running(written(tmp_path, "http://127.0.0.1:1/v1"), tmp_path) as process:
        assert process.listen[0] == f"unix:{tmp_path}/llm.sock"
        assert process.admin[0] == f"unix:{tmp_path}/admin.sock"
        for address in (process.listen[1], process.admin[1], process.ops[0]):
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), 5).close()
        assert stat.S_IMODE(os.stat(tmp_path / "llm.sock").st_mode) == 0o660
        assert stat.S_IMODE(os.stat(tmp_path / "admin.sock").st_mode) == 0o600
        assert httpx.get(f"http://{process.ops[0]}/livez").status_code == 200
        assert httpx.get(f"http://{process.ops[0]}/readyz").status_code == 200
        metrics = httpx.get(f"http://{process.ops[0]}/metrics").text
        assert "sidecar_policy_generation 1.0" in metrics
    assert not (tmp_path / "llm.sock").exists()


def asking(process: Process, slow_llm: Any) -> tuple[threading.Thread, list[httpx.Response]]:
    """A request that is in flight at the LLM; its answer comes into the list."""
    answers: list[httpx.Response] = []
    thread = threading.Thread(
        target=lambda: answers.append(httpx.get(f"http://{process.listen[1]}/v1/x", timeout=20))
    )
    thread.start()
    assert slow_llm.handler.asked.wait(10)
    return thread, answers


def test_sigterm_lets_what_is_in_flight_end_and_exits_0(tmp_path: Path, slow_llm: Any) -> None:
    url = f"http://127.0.0.1:{slow_llm.server_address[1]}/v1"
    with running(written(tmp_path, url), tmp_path) as process:
        thread, answers = asking(process, slow_llm)
        process.signal(signal.SIGTERM)
        process.wait_for("draining", in_flight=1)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://{process.listen[1]}/v1/x")
        slow_llm.handler.release.set()
        thread.join(10)
        assert answers[0].text == "ok"
        assert answers[0].headers["connection"] == "close"
        assert process.stop() == 0


def test_a_second_signal_ends_at_once(tmp_path: Path, slow_llm: Any) -> None:
    url = f"http://127.0.0.1:{slow_llm.server_address[1]}/v1"
    with running(written(tmp_path, url), tmp_path) as process:
        thread, answers = asking(process, slow_llm)
        process.signal(signal.SIGTERM)
        process.wait_for("draining")
        process.signal(signal.SIGTERM)
        assert process.stop() == 0
        thread.join(10)
        assert (answers[0].status_code, answers[0].json()["error"]["code"]) == (503, "draining")


def test_a_changed_file_is_applied_and_a_bad_one_is_told_and_left(tmp_path: Path) -> None:
    config = written(tmp_path, "http://127.0.0.1:1/v1")
    with running(config, tmp_path) as process:
        path = tmp_path / "sidecar.yaml"
        text = path.read_text()
        path.write_text(text.replace("127.0.0.1:1/", "127.0.0.1:2/"))
        process.wait_for("policy_applied", generation=2)
        path.write_text(text.replace("http://", "gopher://"))
        process.signal(signal.SIGHUP)
        rejected = process.wait_for("policy_rejected", source="file")
        assert "policy.services[0].url" in rejected["problems"][0]
        assert "sidecar_policy_generation 2.0" in httpx.get(f"http://{process.ops[0]}/metrics").text


def test_the_symlink_swap_of_a_config_map_is_noticed(tmp_path: Path) -> None:
    """Kubernetes: sidecar.yaml -> ..data/sidecar.yaml, and ..data is swapped by rename."""
    config = written(tmp_path, "http://127.0.0.1:1/v1")
    mount = tmp_path / "mount"
    mount.mkdir()
    with running(config, tmp_path) as first:
        text = (tmp_path / "sidecar.yaml").read_text()
    assert first.wait() == 0
    for name, body in (("v1", text), ("v2", text.replace("127.0.0.1:1/", "127.0.0.1:2/"))):
        (mount / name).mkdir()
        (mount / name / "sidecar.yaml").write_text(body)
    (mount / "..data").symlink_to("v1")
    (mount / "sidecar.yaml").symlink_to("..data/sidecar.yaml")
    process = Process(mount / "sidecar.yaml", {})
    try:
        (mount / "..next").symlink_to("v2")
        (mount / "..next").rename(mount / "..data")
        process.wait_for("policy_applied", generation=2)
    finally:
        process.stop()


def test_every_problem_of_a_bad_config_is_told_with_its_line(tmp_path: Path) -> None:
    code, said = refused(
        tmp_path,
        "listne: []\npolicy:\n  services:\n    - name: a\n      url: ftp://x\n      timeouts: {idle: 3 parsecs}\n"
        "  routes:\n    - services: [b]\n",
    )
    assert code == 2
    expected = {1: "listne", 5: "services[0].url", 6: "services[0].timeouts.idle", 8: "routes[0].services[0]"}
    for line, field in expected.items():
        assert f"FILE:{line}:" in said, said
        assert field in said
    assert "Traceback" not in said


def test_a_missing_file_and_a_missing_secret_are_told(tmp_path: Path) -> None:
    code, said = refused(
        tmp_path,
        "policy:\n  services:\n    - name: a\n      url: http://127.0.0.1:1/v1\n"
        "      credential: {bearer: {env: NOT_THERE}}\n  routes:\n    - services: [a]\n",
    )
    assert code == 2
    assert "FILE:5: policy.services[0].credential.bearer" in said
    assert "NOT_THERE" in said
    assert "Traceback" not in said


def test_an_address_in_use_is_told_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, said = refused(
            tmp_path,
            f"listen: ['unix:{tmp_path}/llm.sock', '127.0.0.1:{port}']\nadmin: {{enabled: false}}\n"
            "ops: {enabled: false}\npolicy:\n  services: [{name: a, url: 'http://127.0.0.1:1/v1'}]\n"
            "  routes: [{services: [a]}]\n",
        )
    assert code == 1
    assert f"127.0.0.1:{port}: address in use" in said
    assert "Traceback" not in said
    assert not (tmp_path / "llm.sock").exists()


def test_an_address_that_is_not_this_machines_is_told(tmp_path: Path) -> None:
    code, said = refused(
        tmp_path,
        "listen: ['192.0.2.1:8800']\nallow_remote: true\nadmin: {enabled: false}\nops: {enabled: false}\n"
        "policy:\n  services: [{name: a, url: 'http://127.0.0.1:1/v1'}]\n  routes: [{services: [a]}]\n",
    )
    assert code == 1
    assert "cannot listen: 192.0.2.1:8800: Cannot assign requested address" in said


def test_a_sighup_that_comes_before_it_listens_does_not_end_it(tmp_path: Path) -> None:
    """Whoever changes the file does not know how far a start has come."""
    pipe = tmp_path / "sidecar.yaml"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "sidecar", "run", "--config", str(pipe)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        with pipe.open("w") as written:  # once it is opened to be read
            process.send_signal(signal.SIGHUP)
            written.write("listne: []\n")
        _, said = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "listne" in said


def test_a_socket_that_cannot_be_made_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, said = refused(
        tmp_path,
        f"listen: ['unix:{tmp_path}/file/llm.sock']\nadmin: {{enabled: false}}\nops: {{enabled: false}}\n"
        "policy:\n  services: [{name: a, url: 'http://127.0.0.1:1/v1'}]\n  routes: [{services: [a]}]\n",
    )
    assert code == 1
    assert f"unix:{tmp_path}/file/llm.sock: " in said
    assert "Traceback" not in said


def until_it_accepts(path: Path) -> None:
    """A daemon whose ready line cannot be read."""
    deadline = time.monotonic() + 20
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                return probe.connect(str(path))
            except (FileNotFoundError, ConnectionRefusedError):
                assert time.monotonic() < deadline
                time.sleep(0.01)


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_it_runs_with_standard_streams_closed_and_keeps_apart_what_goes_where(
    closed: str, tmp_path: Path
) -> None:
    """Their numbers would go to the next sockets, and what was printed there to an LLM; libuv aborts at the end."""
    path, out = tmp_path / "sidecar.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(written(tmp_path, "http://127.0.0.1:1/v1")))
    command = [sys.executable, "-m", "sidecar", "run", "--config", str(path)]
    with out.open("w") as file:
        process = subprocess.Popen(["sh", "-c", f'exec "$@" {closed}', "sh", *command], stdout=file)
    until_it_accepts(tmp_path / "llm.sock")
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(tmp_path / "llm.sock"))) as app:
        assert app.get("http://localhost/v1/models").status_code == 502
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert bool(lines) == (">&- 2" not in closed)


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    config = written(tmp_path, f"http://127.0.0.1:{free_port()}/v1")
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "llm.sock"))
    stale.close()
    with running(config, tmp_path) as process:
        code, said = refused(tmp_path, (tmp_path / "sidecar.yaml").read_text())
        assert code == 1
        assert "in use by a live process" in said
        assert process.alive
        assert (tmp_path / "llm.sock").exists()
