"""A connection to the daemon for the length of one command; its errors become Stops.

Out:     an AdminClient; exit code 3 when nobody answers, 2 for what the daemon refused, else 1.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sidecar.cli.stop import BAD_USAGE, FAILED, NOT_REACHABLE, Stop

if TYPE_CHECKING:
    import grpc
    from sidecar_client.admin import AdminClient


@contextmanager
def connect(args: Namespace) -> Iterator[AdminClient]:
    """An AdminClient for `--admin` and its kin."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC's core would write to our stderr; read at import
    from sidecar_client.admin import AdminClient
    from sidecar_client.errors import AdminError, InvalidArgument, Unreachable

    try:
        client = AdminClient(args.admin, credentials=_credentials(args))
    except ValueError as error:
        raise Stop(BAD_USAGE, f"sidecar: {error}") from error
    try:
        with client:
            yield client
    except Unreachable as error:
        raise Stop(NOT_REACHABLE, f"sidecar: {unreachable(client.address)}") from error
    except InvalidArgument as error:
        raise Stop(BAD_USAGE, *(f"sidecar: {what}" for what in error.violations or [error])) from error
    except AdminError as error:
        raise Stop(FAILED, f"sidecar: {error}") from error


def unreachable(address: str) -> str:
    """One line: what is the matter with the address, and what to do."""
    if not address.startswith("unix:"):
        why = "nothing answers there"
    elif not os.path.exists(path := address.removeprefix("unix:")):
        why = "there is no such socket"
    elif not os.access(path, os.R_OK | os.W_OK):
        why = "this user may not open that socket"
    else:
        why = "nobody answers on that socket"
    remedy = "start the daemon with `sidecar run`, or name its address with --admin or $SIDECAR_ADMIN"
    return f"daemon not reachable at {address}: {why}; {remedy}"


def _credentials(args: Namespace) -> grpc.ChannelCredentials | None:
    files = (args.admin_ca, args.admin_key, args.admin_cert)
    if not any(files):
        return None
    if not all(files):
        raise Stop(BAD_USAGE, "sidecar: --admin-ca, --admin-cert and --admin-key belong together")
    import grpc

    return grpc.ssl_channel_credentials(*(_read(path) for path in files))


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Stop(BAD_USAGE, f"sidecar: {path}: {error.strerror}") from error
