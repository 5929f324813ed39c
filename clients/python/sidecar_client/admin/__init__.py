"""The admin API, typed: AdminClient for threads, AsyncAdminClient for asyncio.

In:      an address, `unix:/path` or `host:port` (else $SIDECAR_ADMIN, else the default socket).
Out:     messages of llmsidecar.v1; lists where the API answers with a list alone.
Units:   seconds as float, in and out of every argument; messages carry protobuf durations.
Errors:  sidecar_client.errors; nothing of grpc's leaves this package.
"""

from sidecar_client.admin.address import DEFAULT_ADDRESS
from sidecar_client.admin.asynchronous import AsyncAdminClient
from sidecar_client.admin.blocking import AdminClient

__all__ = ["DEFAULT_ADDRESS", "AdminClient", "AsyncAdminClient"]
