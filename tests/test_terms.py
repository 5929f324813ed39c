"""Addresses: `unix:/path`, `host:port`, `[v6]:port`, and nothing else."""

from __future__ import annotations

import pytest

from sidecar.terms import Address, BadAddress, TcpAddress, UnixAddress, is_loopback, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/run/x.sock", UnixAddress("/run/x.sock")),
        ("127.0.0.1:0", TcpAddress("127.0.0.1", 0)),
        ("[::1]:8800", TcpAddress("::1", 8800)),
        ("llm.svc:65535", TcpAddress("llm.svc", 65535)),
    ],
)
def test_an_address_reads_back_as_it_was_written(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "host", ":80", "host:", "host:x", "host:65536"),
        *("::1:80", "[::1:80", "unix:relative", "a b:1", f"unix:/{107 * 'x'}"),
    ],
)
def test_anything_else_is_refused_in_words(text: str) -> None:
    with pytest.raises(BadAddress, match="expected unix:/path or host:port"):
        parse_address(text)


def test_only_this_machine_is_loopback() -> None:
    assert is_loopback(UnixAddress("/x"))
    assert is_loopback(TcpAddress("127.8.8.8", 1))
    assert is_loopback(TcpAddress("::1", 1))
    assert not is_loopback(TcpAddress("0.0.0.0", 1))
    assert not is_loopback(TcpAddress("localhost.evil.example", 1))
