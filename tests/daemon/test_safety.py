"""Who can reach the sidecar at all: what it listens on, with which modes, and whom admin over TCP lets in."""

from __future__ import annotations

import os
import socket
import stat
import struct
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from llmsidecar.v1.policy_pb2 import GetPolicyRequest
from llmsidecar.v1.policy_pb2_grpc import PolicyServiceStub

from tests.cli.terminal import sidecar
from tests.upstream.authority import Authority, Pair

from .process import Process, refused, running

LISTENS = {"tcp": "0A", "unix": "00010000"}  # a TCP state; a flag of a Unix socket


def listening(pid: int) -> set[str]:
    """Every address that the process accepts connections on, as the kernel has it."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        target = os.readlink(link)
        if target.startswith("socket:["):
            inodes.add(target.removeprefix("socket:[").removesuffix("]"))
    found = set()
    for family, name in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        for row in _rows(pid, name):
            if row[3] == LISTENS["tcp"] and row[9] in inodes:
                found.add(_address(family, row[1]))
    for name in ("udp", "udp6"):
        found |= {f"{name} {row[1]}" for row in _rows(pid, name) if row[9] in inodes}
    for row in _rows(pid, "unix"):
        if row[3] == LISTENS["unix"] and row[6] in inodes:
            found.add(f"unix:{row[7]}")
    return found


def _rows(pid: int, name: str) -> list[list[str]]:
    path = Path(f"/proc/{pid}/net/{name}")
    return [line.split() for line in path.read_text().splitlines()[1:]] if path.exists() else []


def _address(family: socket.AddressFamily, written: str) -> str:
    """The kernel writes words of four bytes in the machine's order; gRPC binds IPv4 by an IPv6 socket."""
    host, _, port = written.partition(":")
    words = [int(host[i : i + 8], 16) for i in range(0, len(host), 8)]
    text = socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words))
    return f"{text.removeprefix('::ffff:')}:{int(port, 16)}"


def written(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "listen": [f"unix:{folder}/llm.sock", "127.0.0.1:0"],
        "admin": {"listen": [f"unix:{folder}/admin.sock", "127.0.0.1:0"]},
        "ops": {"listen": [f"unix:{folder}/ops.sock", "127.0.0.1:0"]},
        "policy": {
            "services": [{"name": "a", "url": "http://127.0.0.1:1/v1"}],
            "routes": [{"services": ["a"]}],
        },
        **more,
    }


def test_it_listens_where_it_was_told_to_and_nowhere_else(tmp_path: Path) -> None:
    """The kernel's own list, so that no port a library opens by itself goes unnoticed."""
    with running(written(tmp_path), tmp_path) as process:
        told = {*process.listen, *process.admin, *process.ops}
        assert len(told) == 6
        assert listening(process.pid) == told


def test_what_is_turned_off_opens_nothing(tmp_path: Path) -> None:
    """Neither under its default address nor under any other."""
    off = {"enabled": False}
    config = written(tmp_path, listen=[f"unix:{tmp_path}/llm.sock"], admin=off, ops=off)
    with running(config, tmp_path) as process:
        assert (process.admin, process.ops) == (["off"], ["off"])
        assert listening(process.pid) == {f"unix:{tmp_path}/llm.sock"}


def test_sockets_have_their_modes_whatever_the_umask(tmp_path: Path) -> None:
    """gRPC makes its socket open to everybody, and a umask of 0 would leave it so."""
    before = os.umask(0)
    try:
        with running(written(tmp_path, socket_mode="0620"), tmp_path):
            modes = {
                name: stat.S_IMODE((tmp_path / f"{name}.sock").stat().st_mode)
                for name in ("llm", "admin", "ops")
            }
    finally:
        os.umask(before)
    assert modes == {"llm": 0o620, "admin": 0o600, "ops": 0o600}


@pytest.mark.parametrize(
    ("where", "part"),
    [
        ("listen", {"listen": ["0.0.0.0:0"]}),
        ("admin.listen", {"admin": {"listen": ["0.0.0.0:0"]}}),
        ("admin.listen", {"admin": {"listen": ["0.0.0.0:0"], "allow_remote": True}}),
        ("ops.listen", {"ops": {"listen": ["[::]:0"]}}),
    ],
)
def test_an_address_that_others_can_reach_is_refused(
    where: str, part: dict[str, Any], tmp_path: Path
) -> None:
    """Admin is refused even where remote is allowed, for without mutual TLS anybody could be the operator."""
    code, said = refused(tmp_path, yaml.safe_dump(written(tmp_path, **part)))
    assert code == 2, said
    assert where in said
    assert "Traceback" not in said


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Another authority, which has chosen the same name."""
    return Authority(tmp_path_factory.mktemp("theirs"))


def generation(process: Process, credentials: grpc.ChannelCredentials | None) -> int:
    address = process.admin[0]
    channel = (
        grpc.insecure_channel(address) if credentials is None else grpc.secure_channel(address, credentials)
    )
    with channel:
        stub = PolicyServiceStub(channel)  # type: ignore[no-untyped-call]
        return int(stub.GetPolicy(GetPolicyRequest(), timeout=20).generation)


def credentials(ca: Authority, pair: Pair | None) -> grpc.ChannelCredentials:
    if pair is None:
        return grpc.ssl_channel_credentials(ca.ca.read_bytes())
    return grpc.ssl_channel_credentials(ca.ca.read_bytes(), pair.key.read_bytes(), pair.cert.read_bytes())


def test_admin_over_mutual_tls_lets_in_whom_its_authority_has_signed_and_nobody_else(
    tmp_path: Path, ours: Authority, theirs: Authority
) -> None:
    """Not the nameless, not those another authority vouches for, not those who speak in the clear."""
    server = ours.issue("server", "IP:127.0.0.1")
    tls = {"cert_file": str(server.cert), "key_file": str(server.key), "client_ca_file": str(ours.ca)}
    config = written(tmp_path, admin={"listen": ["127.0.0.1:0"], "tls": tls})
    with running(config, tmp_path) as process:
        caller = ours.issue("caller", "DNS:caller")
        assert generation(process, credentials(ours, caller)) == 1
        strangers = {
            "nameless": credentials(ours, None),
            "signed by another": credentials(ours, theirs.issue("caller", "DNS:caller")),
            "in the clear": None,
        }
        for who, stranger in strangers.items():
            with pytest.raises(grpc.RpcError) as turned_away:
                generation(process, stranger)
            code: Any = turned_away.value
            assert code.code() is grpc.StatusCode.UNAVAILABLE, who
        with pytest.raises(grpc.RpcError):  # and a caller does not take another's sidecar for its own
            generation(process, credentials(theirs, caller))
        assert generation(process, credentials(ours, caller)) == 1


@pytest.mark.parametrize(
    ("spoilt", "field"),
    [
        ("cert_file", "admin.tls.cert_file"),
        ("key_file", "admin.tls.cert_file"),
        ("client_ca_file", "admin.tls.client_ca_file"),
    ],
)
def test_a_file_of_mutual_tls_that_is_no_good_is_named_before_anything_listens(
    spoilt: str, field: str, tmp_path: Path, ours: Authority
) -> None:
    """gRPC would say no more than that the port cannot be bound. The start, check and doctor say the same."""
    server = ours.issue("server", "IP:127.0.0.1")
    tls = {"cert_file": str(server.cert), "key_file": str(server.key), "client_ca_file": str(ours.ca)}
    (tmp_path / "spoilt.pem").write_text("-----BEGIN NOTHING-----")
    tls[spoilt] = str(tmp_path / "spoilt.pem")
    config = written(tmp_path, admin={"listen": ["127.0.0.1:0"], "tls": tls})
    code, said = refused(tmp_path, yaml.safe_dump(config))
    [line] = [line for line in said.splitlines() if line.startswith("FILE:")]
    assert code == 2
    assert field in line
    assert "spoilt.pem" in line
    checked = sidecar("check", str(tmp_path / "sidecar.yaml"))
    assert (checked.code, checked.err.strip().replace(str(tmp_path / "sidecar.yaml"), "FILE")) == (2, line)
    looked = sidecar("doctor", "--config", str(tmp_path / "sidecar.yaml"))
    assert line.removeprefix("FILE") in looked.out
