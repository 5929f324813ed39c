"""Client of the LLM high-availability sidecar: the data socket for SDKs, the admin API for programs.

    from openai import OpenAI
    import sidecar_client

    llm = OpenAI(base_url="http://localhost/v1", api_key="unused", http_client=sidecar_client.http_client())

Rooms:   transport (httpx, httpx2), admin (grpc), errors (nothing). Each is imported when it is asked for,
         so an app that only wants the transport needs no grpc, and the other way round.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar_client.admin import AdminClient, AsyncAdminClient
    from sidecar_client.transport import async_http_client, http_client

__version__ = "0.1.0"
__all__ = ["AdminClient", "AsyncAdminClient", "async_http_client", "http_client"]

_HOME = {
    "AdminClient": "sidecar_client.admin",
    "AsyncAdminClient": "sidecar_client.admin",
    "async_http_client": "sidecar_client.transport",
    "http_client": "sidecar_client.transport",
}


if not TYPE_CHECKING:  # or a type checker would believe that every name is there

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOME[name]), name)
