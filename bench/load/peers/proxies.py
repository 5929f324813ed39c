"""The general proxies, each with one worker, without an access log, with connections to the upstream kept open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.load.peers.base import Kind, Serving, Setting
from bench.load.process import running
from bench.load.tools import CONTENDER, tool

NGINX = """\
worker_processes 1; daemon off; pid {folder}/pid; error_log stderr error;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 16m;
  client_body_buffer_size 2m; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/x; uwsgi_temp_path {folder}/x; scgi_temp_path {folder}/x;
  proxy_buffering off; proxy_http_version 1.1; tcp_nodelay on;
  {tls}
  upstream llm {{ {servers} keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port}; listen unix:{socket};
    location / {{
      proxy_pass {scheme}://llm; proxy_set_header Connection "";
      proxy_next_upstream error timeout http_502 http_503 non_idempotent;
    }}
  }}
}}
"""

NGINX_TLS = "proxy_ssl_trusted_certificate {ca}; proxy_ssl_verify on; proxy_ssl_name localhost;"

HAPROXY = """\
global
  maxconn 8192
  nbthread 1
defaults
  mode http
  option http-no-delay
  timeout client 60s
  timeout server 60s
  timeout connect 5s
frontend app
  bind 127.0.0.1:{port}
  bind {socket}
  default_backend llm
backend llm
  server a {target}{tls}
"""


@contextmanager
def nginx(at: Setting) -> Iterator[Serving]:
    servers = f"server {at.target} max_fails=0;"
    if at.kind is Kind.FALLBACK:
        servers = f"server 127.0.0.1:{at.upstream.failing} max_fails=0; server {at.target} backup;"
    config = at.folder / "nginx.conf"
    config.write_text(
        NGINX.format(
            folder=at.folder,
            socket=at.socket,
            port=at.port,
            servers=servers,
            scheme="https" if at.kind is Kind.TLS else "http",
            tls=NGINX_TLS.format(ca=at.upstream.ca) if at.kind is Kind.TLS else "",
        )
    )
    command = [tool("nginx"), "-c", config]
    with running(command, core=CONTENDER, ready=at.ready, log=at.folder / "log") as process:
        yield at.served_by(process)


@contextmanager
def haproxy(at: Setting) -> Iterator[Serving]:
    tls = f" ssl verify required ca-file {at.upstream.ca} sni str(localhost)" if at.kind is Kind.TLS else ""
    config = at.folder / "haproxy.cfg"
    config.write_text(
        HAPROXY.format(folder=at.folder, socket=at.socket, port=at.port, target=at.target, tls=tls)
    )
    command = [tool("haproxy"), "-f", config, "-db"]
    with running(command, core=CONTENDER, ready=at.ready, log=at.folder / "log") as process:
        yield at.served_by(process)
