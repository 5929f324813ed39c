"""Rules of the package sidecar_client itself."""

from __future__ import annotations

import subprocess
import sys

import pytest
import sidecar_client

SCRIPT = """
import sys
import sidecar_client
import sidecar_client.errors
assert not {"grpc", "httpx", "httpx2", "sidecar"} & set(sys.modules), "import alone"
sidecar_client.http_client("/nowhere", library="httpx").close()
assert not {"grpc", "httpx2", "sidecar"} & set(sys.modules), "transport"
sidecar_client.AdminClient("unix:/nowhere").close()
assert not {"httpx2", "sidecar"} & set(sys.modules), "admin"
"""


def test_only_what_is_used_is_imported() -> None:
    """An app that wants the transport need not have grpc, and none of this needs the daemon."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As with any module."""
    with pytest.raises(AttributeError, match="no attribute 'http_clients'"):
        _ = sidecar_client.http_clients  # type: ignore[attr-defined]


def test_every_public_name_can_be_had() -> None:
    """They are looked up by name, which no type checker sees."""
    assert all(callable(getattr(sidecar_client, name)) for name in sidecar_client.__all__)
