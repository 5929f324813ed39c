"""Nouns that several rooms share.

Units:   seconds are floats, sizes are bytes; an address is `host:port`, `[v6]:port` or `unix:/path`.
"""

from __future__ import annotations

from typing import NamedTuple

HEDGE = "hedge"  # the reason of an attempt that was begun beside another


class EndpointKey(NamedTuple):
    """Names one endpoint everywhere: in health state, events, spans and metrics."""

    service: str
    address: str


class TcpAddress(NamedTuple):
    """A host (name or literal, without brackets) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixAddress(NamedTuple):
    """A Unix socket by its path."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address = TcpAddress | UnixAddress


class BadAddress(ValueError):
    """What is wrong with an address, in words for the one who wrote it."""

    def __init__(self, given: str, why: str) -> None:
        super().__init__(f"{given!r} {why}; expected unix:/path or host:port")


def parse_address(text: str) -> Address:
    """Reads `unix:/path`, `host:port` or `[v6]:port`; raises BadAddress."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/"):
            raise BadAddress(text, "has a relative path")
        if len(path.encode()) > 107:  # sun_path of Linux, less its terminator
            raise BadAddress(text, "has a path of over 107 bytes, more than a Unix socket can have")
        return UnixAddress(path)
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise BadAddress(text, "has no port" if host or not colon else "has no host")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise BadAddress(text, "has a port that is no number from 0 to 65535")
    if host.startswith("[") != host.endswith("]") or (":" in host and not host.startswith("[")):
        raise BadAddress(text, "has an IPv6 host without its brackets")
    host = host.strip("[]")
    if not host or any(c in host for c in "/@?# \t\r\n"):
        raise BadAddress(text, "has a host that is no name or IP address")
    return TcpAddress(host, int(port))


def is_loopback(address: Address) -> bool:
    """Whether only this machine can reach the address; a name other than localhost is not taken for it."""
    if isinstance(address, UnixAddress):
        return True
    return address.host in ("localhost", "::1") or address.host.startswith("127.")
