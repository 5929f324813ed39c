"""Rules of `sidecar doctor`: each thing that can be wrong is told, with its remedy; nothing is changed."""

from __future__ import annotations

import json
import os
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from llmsidecar.v1 import health_pb2

from sidecar.cli.checkup.finding import Finding
from sidecar.cli.checkup.machine import look_at_limits, look_at_state
from sidecar.cli.checkup.network import look_at_clock
from tests.cli.terminal import Ended, sidecar
from tests.client.daemon import Daemon
from tests.client.messages import policy
from tests.daemon.process import running
from tests.upstream.authority import Authority, server_context

NOON = 1_800_000_000.0  # Unix seconds


class Service(BaseHTTPRequestHandler):
    """An LLM service that wants a credential, which doctor does not send."""

    asked: list[tuple[str, str | None]]

    def do_HEAD(self) -> None:
        self.asked.append((self.path, self.headers["authorization"]))
        self.send_response(401)
        self.end_headers()

    def handle(self) -> None:
        with suppress(ssl.SSLError):  # a caller that refuses the certificate
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[HTTPServer]:
    Service.asked = []
    with HTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def config(folder: Path, url: str, **service: Any) -> dict[str, Any]:
    return {
        "listen": [f"unix:{folder}/llm.sock"],
        "admin": {"listen": [f"unix:{folder}/admin.sock"]},
        "ops": {"listen": ["127.0.0.1:0"]},
        "limits": {"max_connections": 100},
        "policy": {
            "services": [{"name": "own", "url": url, **service}],
            "routes": [{"services": ["own"]}],
        },
    }


def doctor(folder: Path, written: dict[str, Any]) -> Ended:
    file = folder / "sidecar.yaml"
    file.write_text(yaml.safe_dump(written))
    return sidecar("doctor", "--config", str(file), "--json")


def findings(told: Ended) -> list[Finding]:
    return [Finding(**found) for found in json.loads(told.out)]


def of(told: Ended, check: str) -> list[Finding]:
    return [finding for finding in findings(told) if finding.check == check]


def url_of(server: HTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/v1"


def test_a_daemon_in_good_health_exits_with_0(tmp_path: Path, service: HTTPServer) -> None:
    """A real one, with its sockets, its policy and its services; services are asked for a HEAD without a key."""
    (tmp_path / "key").write_text("sk-canary")
    (tmp_path / "key").chmod(0o600)
    written = config(tmp_path, url_of(service), credential={"bearer": {"file": str(tmp_path / "key")}})
    with running(written, tmp_path):
        told = doctor(tmp_path, written)
    assert [finding for finding in findings(told) if finding.status != "ok"] == []
    assert (told.code, told.err) == (0, "")
    assert Service.asked == [("/v1", None)]
    assert "sk-canary" not in told.out
    whats = " ".join(finding.what for finding in findings(told))
    for expected in (
        "alive, mode 0660",
        "alive, mode 0600",
        "generation 1, from file",
        "status 401",
        "(daemon, pid",
    ):
        assert expected in whats


def test_a_daemon_that_does_not_run_is_one_failure_with_its_remedy(
    tmp_path: Path, service: HTTPServer
) -> None:
    """Its missing sockets are only mentioned."""
    told = doctor(tmp_path, config(tmp_path, url_of(service)))
    assert told.code == 1
    assert [finding.check for finding in findings(told) if finding.status == "fail"] == ["daemon"]
    assert "sidecar run" in of(told, "daemon")[0].remedy
    assert [finding.status for finding in of(told, "sockets")] == ["warn", "warn", "ok"]


def test_every_remedy_is_there(tmp_path: Path, service: HTTPServer) -> None:
    """A finding that only complains helps nobody."""
    told = doctor(tmp_path, config(tmp_path, "http://127.0.0.1:1/v1"))
    assert all(finding.remedy for finding in findings(told) if finding.status != "ok")


def test_without_a_config_the_daemon_is_still_asked(
    daemon: Daemon, service: HTTPServer, tmp_path: Path
) -> None:
    """And the services of the policy that it runs."""
    daemon.policy = policy(url_of(service))
    told = sidecar("doctor", "--config", str(tmp_path / "none.yaml"), "--json")
    assert told.code == 1
    assert of(told, "config")[0].what.endswith("none.yaml: cannot be read: No such file or directory")
    assert [finding.status for finding in of(told, "daemon") + of(told, "network")] == ["ok", "ok"]


def test_a_bad_config_is_told_line_by_line(tmp_path: Path) -> None:
    """As `sidecar check` does."""
    written = config(tmp_path, "htp://x")
    assert ".url: 'htp://x' does not start with http" in of(doctor(tmp_path, written), "config")[0].what


def test_a_policy_that_is_not_that_of_the_file_is_noticed(daemon: Daemon, tmp_path: Path) -> None:
    """Somebody applied another one, and a restart may bring back the old."""
    told = doctor(tmp_path, config(tmp_path, "http://127.0.0.1:1/v1"))
    assert [finding.status for finding in of(told, "daemon")] == ["ok", "warn"]
    assert "sidecar policy diff" in of(told, "daemon")[1].remedy


def test_endpoints_that_are_out_are_listed(daemon: Daemon, tmp_path: Path) -> None:
    """With the way back."""
    daemon.endpoints[0].available, daemon.endpoints[0].reason = False, "overloaded"  # no fault of anybody
    daemon.endpoints[1].available, daemon.endpoints[1].reason = False, "manual"
    daemon.endpoints[1].state = health_pb2.ENDPOINT_STATE_EJECTED
    told = of(doctor(tmp_path, config(tmp_path, "http://127.0.0.1:1/v1")), "daemon")
    out = [finding for finding in told if " is ejected" in finding.what or "overloaded" in finding.what]
    assert [finding.what for finding in out] == ["bailian api:443 is ejected: manual"]
    assert out[0].remedy.endswith("sidecar restore bailian api:443")


def test_what_is_left_alone_is_told_with_what_helps(daemon: Daemon, tmp_path: Path) -> None:
    """A refused key stays refused until somebody replaces it; a rate limit ends by itself."""
    for scope, name, reason in (("credential", "env KEY", "auth"), ("service", "bailian", "overloaded")):
        daemon.cooling.append(
            health_pb2.ScopeCooled(service="bailian", scope=scope, name=name, reason=reason, enforced=True)
        )
    key, whole = of(doctor(tmp_path, config(tmp_path, "http://127.0.0.1:1/v1")), "daemon")[-2:]
    assert key.what == "bailian: credential env KEY is left alone: auth"
    assert key.remedy.startswith("replace the key")
    assert "by itself" in whole.remedy


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("http://127.0.0.1:1/v1", "not reachable"),
        ("http://no-such-host.invalid/v1", "no-such-host.invalid has no address"),
    ],
)
def test_a_service_that_cannot_be_reached_fails(tmp_path: Path, url: str, what: str) -> None:
    """Before an app finds out."""
    told = of(doctor(tmp_path, config(tmp_path, url)), "network")
    assert [finding.status for finding in told] == ["fail"]
    assert what in told[0].what


def test_https_to_a_port_that_speaks_http_is_told_apart(tmp_path: Path, service: HTTPServer) -> None:
    """The commonest slip in a url."""
    told = of(doctor(tmp_path, config(tmp_path, url_of(service).replace("http:", "https:"))), "network")
    assert (told[0].status, "no TLS" in told[0].what) == ("fail", True)


def test_certificates_are_judged_before_an_app_meets_them(tmp_path: Path, service: HTTPServer) -> None:
    """One that nobody trusts fails, one that ends soon is told: those of this authority last two days."""
    authority = Authority(tmp_path / "ca")
    context = server_context(authority.issue("service", "IP:127.0.0.1"))
    service.socket = context.wrap_socket(service.socket, server_side=True, do_handshake_on_connect=False)
    url = url_of(service).replace("http:", "https:")
    refused = of(doctor(tmp_path, config(tmp_path, url)), "network")
    assert (refused[0].status, "its certificate is refused" in refused[0].what) == ("fail", True)
    assert "tls.ca_file" in refused[0].remedy
    trusted = of(doctor(tmp_path, config(tmp_path, url, tls={"ca_file": str(authority.ca)})), "network")
    assert (trusted[0].status, trusted[0].remedy) == ("warn", "renew it")
    assert "its certificate ends in 2 days" in trusted[0].what


def test_a_socket_with_a_wider_mode_fails(tmp_path: Path, service: HTTPServer) -> None:
    """Whoever may open the admin socket may change the policy."""
    written = config(tmp_path, url_of(service))
    with running(written, tmp_path):
        (tmp_path / "admin.sock").chmod(0o666)
        told = of(doctor(tmp_path, written), "sockets")
        assert stat.S_IMODE((tmp_path / "admin.sock").stat().st_mode) == 0o666, "it only looks"
    assert (told[1].status, told[1].remedy.split(",")[0]) == ("fail", f"chmod 0600 {tmp_path}/admin.sock")


def test_what_a_dead_process_left_is_no_failure_and_no_file_is(tmp_path: Path) -> None:
    """The next start replaces a dead socket, and refuses a path that is taken."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "llm.sock"))
    (tmp_path / "admin.sock").write_text("precious")
    told = of(doctor(tmp_path, config(tmp_path, "http://127.0.0.1:1/v1")), "sockets")
    assert [finding.status for finding in told[:2]] == ["warn", "fail"]
    assert "something is there that is no socket" in told[1].what


def test_secrets_are_missed_and_too_public_ones_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their place in the policy, never by their value."""
    monkeypatch.delenv("NOT_THERE", raising=False)
    written = config(tmp_path, "http://127.0.0.1:1/v1", credential={"bearer": {"env": "NOT_THERE"}})
    told = of(doctor(tmp_path, written), "secrets")
    assert [(finding.status, "NOT_THERE is not set" in finding.what) for finding in told] == [("fail", True)]
    (tmp_path / "key").write_text("sk-canary")
    (tmp_path / "key").chmod(0o644)
    written["policy"]["services"][0]["credential"] = {"bearer": {"file": str(tmp_path / "key")}}
    ended = doctor(tmp_path, written)
    assert of(ended, "secrets")[0].remedy.startswith(f"chmod o-r {tmp_path}/key")
    assert "sk-canary" not in ended.out


@pytest.mark.parametrize(
    ("skews", "status"),
    [([], "ok"), ([1.0, 400.0, -2.0], "ok"), ([40.0], "warn"), ([-301.0, -299.0, -302.0], "fail")],
)
def test_the_clock_is_held_against_the_services(skews: list[float], status: str) -> None:
    """The middle of them: one service may be wrong itself."""
    assert [finding.status for finding in look_at_clock(skews, NOON)] == [status]


def test_a_clock_before_this_program_is_wrong_whatever_services_say() -> None:
    """A board without a battery starts in 1970."""
    assert [finding.status for finding in look_at_clock([], 86_400.0)] == ["fail"]


def test_few_descriptors_are_told_with_the_number_that_would_do() -> None:
    """Twice the connections, and some; of a running process by its own limits."""
    assert [finding.status for finding in look_at_limits(1, None)] == ["ok"]
    found = list(look_at_limits(10**9, os.getpid()))
    assert (found[0].status, f"pid {os.getpid()}" in found[0].what) == ("warn", True)
    assert "ulimit -n 2000000128" in found[0].remedy


def test_a_state_folder_has_to_be_writable(tmp_path: Path) -> None:
    """An update that cannot be stored is refused."""
    assert [finding.status for finding in look_at_state(str(tmp_path / "new"))] == ["ok"]
    (tmp_path / "file").write_text("")
    assert [finding.status for finding in look_at_state(str(tmp_path / "file"))] == ["fail"]
    assert "no state_dir" in next(look_at_state("")).what


def test_for_people_each_finding_is_a_line_and_its_remedy_another(tmp_path: Path) -> None:
    """Piped: plain, and with a sum."""
    file = tmp_path / "sidecar.yaml"
    file.write_text(yaml.safe_dump(config(tmp_path, "http://127.0.0.1:1/v1")))
    told = sidecar("doctor", "--config", str(file))
    assert told.lines[0] == f"ok    config   {file}: good"
    assert told.lines[2] == "               -> start the daemon: sidecar run"
    assert told.lines[-1].endswith("2 failed")
    assert "\x1b" not in told.out
