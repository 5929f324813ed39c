"""Who is at the other end of a connection of the app, as the kernel knows it.

In:      the transport of an accepted connection.
Out:     the user id on a Unix socket, as it was when the peer connected; `tcp` elsewhere.
Source:  unix(7), SO_PEERCRED: pid, uid and gid, an int each.
"""

from __future__ import annotations

import socket
import struct
from asyncio import BaseTransport

_CREDENTIALS = struct.Struct("3i")


def peer_uid(transport: BaseTransport) -> str:
    peer = transport.get_extra_info("socket")
    if peer is None or peer.family != socket.AF_UNIX or not hasattr(socket, "SO_PEERCRED"):
        return "tcp"
    _, uid, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return str(uid)
