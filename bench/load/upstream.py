"""The LLM service of a run, on the load's core, and nginx before it where the upstream has to speak TLS."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.load.process import running
from bench.load.tools import LOAD, build, free_ports, tool

TLS_NGINX = """\
worker_processes 1; daemon off; pid {folder}/tls-nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; proxy_buffering off;
  client_body_temp_path {folder}/tls-body; proxy_temp_path {folder}/tls-proxy;
  fastcgi_temp_path {folder}/x; uwsgi_temp_path {folder}/x; scgi_temp_path {folder}/x;
  upstream llm {{ server 127.0.0.1:{plain}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{tls} ssl; ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    location / {{ proxy_pass http://llm; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


@dataclass
class Upstream:
    """Where the service answers, fails and is silent; `told` holds its own account once it has ended."""

    answering: int
    failing: int
    silent: int
    tls: int
    folder: Path
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def ca(self) -> Path:
        return self.folder / "cert.pem"


@contextmanager
def upstream(folder: Path) -> Iterator[Upstream]:
    answering, failing, silent, tls = free_ports(4)
    at = Upstream(answering, failing, silent, tls, folder)
    command = [build("upstream"), str(at.answering), str(at.failing), str(at.silent)]
    with running(command, core=LOAD, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        speaks, hears = process.popen.stdout, process.popen.stdin
        assert speaks is not None
        assert hears is not None
        assert speaks.readline() == b"ready\n"
        yield at
        hears.close()
        at.told = json.loads(speaks.readline())


@contextmanager
def tls_before(at: Upstream) -> Iterator[None]:
    """Plain HTTP behind TLS; what the encryption costs here is the load's core's."""
    _make_certificate(at.folder)
    config = at.folder / "tls-nginx.conf"
    config.write_text(TLS_NGINX.format(folder=at.folder, plain=at.answering, tls=at.tls))
    with running([tool("nginx"), "-c", config], core=LOAD, log=at.folder / "tls-nginx.log"):
        yield


def _make_certificate(folder: Path) -> None:
    command = [
        tool("openssl"),
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ]
    command += [
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
    ]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
