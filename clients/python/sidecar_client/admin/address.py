"""Where the daemon's admin API is, and how a channel to it is set up.

Out:     a gRPC target and channel options.
Errors:  ValueError for an address that is neither `unix:/path` nor `host:port`.
"""

from __future__ import annotations

import os

DEFAULT_ADDRESS = "unix:/run/llm-sidecar/admin.sock"

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.enable_http_proxy", 0),  # the daemon is on this machine; a proxy of the environment is not the way
    ("grpc.use_local_subchannel_pool", 1),  # or a second client would inherit the first one's backoff
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),  # fifty revisions of a large policy
)


def admin_address(address: str | None = None) -> str:
    """The address asked for, else $SIDECAR_ADMIN, else the default socket; checked."""
    chosen = address or os.environ.get("SIDECAR_ADMIN") or DEFAULT_ADDRESS
    if chosen.startswith("unix:"):
        good = chosen.startswith("unix:/")
    else:
        host, _, port = chosen.rpartition(":")
        good = bool(host) and "/" not in host and port.isascii() and port.isdigit() and 0 < int(port) < 65536
    if not good:
        raise ValueError(f"{chosen!r} is no admin address; expected unix:/path or host:port")
    return chosen
