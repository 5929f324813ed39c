"""Certificates for tests, made by the `openssl` command: an authority of our own, and what it signs.

With the extensions that RFC 5280 asks for: from Python 3.13 on a certificate without them is refused.
"""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple


class Pair(NamedTuple):
    """A certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """Signs names; `ca` is what to trust."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.ca, self._key = folder / "ca.pem", folder / "ca.key"
        use = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        made = ("-out", self.ca, "-days", "2", "-subj", f"/CN={name}")
        _openssl("req", "-x509", *_new_key(self._key), *made, *use)

    def issue(self, name: str, subject: str) -> Pair:
        """`subject`: what it is for, as `DNS:localhost` or `IP:127.0.0.1`; `name`: of its files."""
        folder = self._folder
        pair, request, extra = (
            Pair(folder / f"{name}.pem", folder / f"{name}.key"),
            folder / "csr",
            folder / "ext",
        )
        _openssl("req", *_new_key(pair.key), "-out", request, "-subj", f"/CN={name}")
        extra.write_text(
            f"subjectAltName={subject}\nauthorityKeyIdentifier=keyid\nkeyUsage=digitalSignature\n"
        )
        signed_by = ("-CA", self.ca, "-CAkey", self._key, "-CAcreateserial")
        _openssl(
            "x509", "-req", "-in", request, *signed_by, "-out", pair.cert, "-days", "2", "-extfile", extra
        )
        return pair


def server_context(pair: Pair, *, callers: Path | None = None) -> ssl.SSLContext:
    """For a server; `callers`: the authority that its callers' certificates must be of."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    if callers is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(callers)
    return context


def _new_key(path: Path) -> tuple[str | Path, ...]:
    return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
