"""HAProxy, with all that it has against a late or broken server.

`balance first` over two active servers, not `backup`: a backup server gets nothing while the primary is up, a retry
neither, but with `option redispatch 1` every retry goes to the other of two active ones. `timeout server` is the
only clock there is: for the head, and then for every pause inside the answer. Errors as seen in traffic mark the
primary down, passing checks bring it back.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.surge.case import Case, Contender
from bench.surge.contenders.standing import Services, Standing, process
from sidecar.demo.config import FALLBACK, PRIMARY
from sidecar.demo.gpu import GpuSpec
from sidecar.terms import UnixAddress
from tests.itest.peers.install import built, need, run

PACKAGES = ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1")
RISE = 5  # passing checks until the primary is used again; a server in a surge passes every one of them
START = """\
#!/bin/sh
here=${0%/*}
exec env LD_LIBRARY_PATH="$(echo "$here"/usr/lib/*-linux-gnu)" "$here/usr/sbin/haproxy" "$@"
"""

CONFIG = """\
global
    nbthread 1
    maxconn 4000
    no log
defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 200ms
    timeout queue 200ms
    timeout check 1s
    option http-no-delay
    option redispatch 1
    retries 3
    retry-on all-retryable-errors
frontend apps
    bind unix@{socket}
    default_backend llm
backend llm
    balance first
    option httpchk GET /health
    default-server observe layer7 error-limit 5 on-error mark-down check inter 1s fall 2 rise {rise}
    http-response set-header x-sidecar-service %s
    server {primary} {primary_at} {limit}
    server {fallback} {fallback_at}
"""


def installed() -> Path:
    """Its program: the machine's own, else out of Debian's package, unpacked without being installed."""
    if found := shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin"):
        return Path(found)

    def build(work: Path) -> Path:
        need("haproxy", "apt-get", "dpkg")
        run(work, "apt-get", "download", *PACKAGES)
        for package in work.glob("*.deb"):
            run(work, "dpkg", "-x", str(package), ".")
        (work / "haproxy").write_text(START)
        (work / "haproxy").chmod(0o755)
        run(work, "./haproxy", "-v")
        return work

    return built("haproxy", "debian", build) / "haproxy"


@asynccontextmanager
async def haproxy(case: Case, folder: Path, services: Services) -> AsyncIterator[Standing]:
    listen = UnixAddress(str(folder / "llm.sock"))
    file = folder / "haproxy.cfg"
    file.write_text(config(case, listen, services))
    async with process((str(installed()), "-db", "-f", str(file)), listen, folder / "haproxy.log"):
        yield Standing([listen])


def config(case: Case, listen: UnixAddress, services: Services) -> str:
    return CONFIG.format(
        socket=listen.path,
        rise=RISE,
        primary=PRIMARY,
        primary_at=services.primary,
        fallback=FALLBACK,
        fallback_at=services.fallback,
        limit=f"maxconn {GpuSpec().slots}" if case.contender is Contender.HAPROXY_MAXCONN else "",
    )
