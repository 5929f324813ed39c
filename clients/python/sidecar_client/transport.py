"""HTTP clients that reach the sidecar over its Unix socket, ready to be handed to an LLM SDK.

In:      the socket's path (else $SIDECAR_SOCKET, else /run/llm-sidecar/llm.sock) and, rarely, the library.
Out:     an httpx or httpx2 client; the host in a base URL is only the Host field: use http://localhost.
Which:   OpenAI 3 and Anthropic 2 are built on httpx2, what came before on httpx; each refuses a client of a
         library that it does not know. With library=None the one that the installed SDKs require is taken.
Units:   seconds.
Errors:  ImportError when the library is missing; ValueError for a library of another name.
"""

from __future__ import annotations

import os
import re
import ssl
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    import httpx
    import httpx2

Library = Literal["httpx", "httpx2"]

DEFAULT_SOCKET = "/run/llm-sidecar/llm.sock"
BASE_URL = "http://localhost"
CONNECT_TIMEOUT = 5.0  # a Unix socket answers at once; what takes longer is a full backlog
TIMEOUT = 600.0  # that of the SDKs: it is the sidecar's task to give up early
LIMITS = {
    "max_connections": 1000,
    "max_keepalive_connections": 100,
    "keepalive_expiry": 60.0,  # shorter than the sidecar's own 75 s, so that no request meets a closing connection
}
_SDKS = ("openai", "anthropic")


@overload
def http_client(
    socket: str | None = None, *, library: Literal["httpx2"], **options: Any
) -> httpx2.Client: ...
@overload
def http_client(socket: str | None = None, *, library: Literal["httpx"], **options: Any) -> httpx.Client: ...
@overload
def http_client(socket: str | None = None, *, library: None = None, **options: Any) -> Any: ...


def http_client(socket: str | None = None, *, library: Library | None = None, **options: Any) -> Any:
    """A blocking client; `options` go to its constructor and win over the defaults here."""
    module = _module(library)
    transport = module.HTTPTransport(**_transport_options(module, socket))
    return module.Client(transport=transport, **_client_options(module, options))


@overload
def async_http_client(
    socket: str | None = None, *, library: Literal["httpx2"], **options: Any
) -> httpx2.AsyncClient: ...
@overload
def async_http_client(
    socket: str | None = None, *, library: Literal["httpx"], **options: Any
) -> httpx.AsyncClient: ...
@overload
def async_http_client(socket: str | None = None, *, library: None = None, **options: Any) -> Any: ...


def async_http_client(socket: str | None = None, *, library: Library | None = None, **options: Any) -> Any:
    """The twin of http_client for asyncio."""
    module = _module(library)
    transport = module.AsyncHTTPTransport(**_transport_options(module, socket))
    return module.AsyncClient(transport=transport, **_client_options(module, options))


def socket_path(socket: str | None = None) -> str:
    """The path of the data socket; `unix:/path`, as the sidecar's own addresses are written, is understood."""
    return (socket or os.environ.get("SIDECAR_SOCKET") or DEFAULT_SOCKET).removeprefix("unix:")


def preferred_library() -> Library:
    """httpx2 when an installed SDK requires it; else the older httpx when it is there; else httpx2."""
    if any("httpx2" in _requirements(sdk) for sdk in _SDKS) or not _is_installed("httpx"):
        return "httpx2"
    return "httpx"


def _requirements(distribution: str) -> set[str]:
    try:
        required = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return set()
    return {re.split(r"[^\w.-]", line, maxsplit=1)[0].lower() for line in required if "extra ==" not in line}


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _module(library: Library | None) -> Any:
    name = library or preferred_library()
    if name not in ("httpx", "httpx2"):
        raise ValueError(f"library is {name!r}; expected 'httpx' or 'httpx2'")
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"the sidecar's transport needs {name}: pip install {name}") from error


def _transport_options(module: Any, socket: str | None) -> dict[str, Any]:
    # Nothing but plain HTTP goes over this socket. A TLS context that trusts nobody keeps an https:// URL
    # from working by accident, and spares the 20 ms it takes to load a certificate store.
    trusts_nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return {"uds": socket_path(socket), "verify": trusts_nobody, "limits": module.Limits(**LIMITS)}


def _client_options(module: Any, options: dict[str, Any]) -> dict[str, Any]:
    # Proxies and credentials of the environment are meant for the network, not for a socket.
    timeout = module.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT)
    return {"base_url": BASE_URL, "timeout": timeout, "trust_env": False} | options
