"""The files of mutual TLS, tried before gRPC gets them: of a bad one it says no more than that a port cannot be bound.

In:      paths of certificate, key and the callers' authority.
Out:     a Problem for each that cannot be used; nothing of what stands in them.
Used by: the start, `sidecar check` and `sidecar doctor`.
"""

from __future__ import annotations

import os
import ssl

from sidecar.policy.problems import Problem

Files = tuple[str, str, str]  # certificate, key, authority
FIELDS = ("cert_file", "key_file", "client_ca_file")


def tls_problems(files: Files) -> list[Problem]:
    problems = [
        problem
        for name, file in zip(FIELDS, files, strict=True)
        if file and (problem := _unreadable(name, file)) is not None
    ]
    return problems or _unusable(*files)


def _unreadable(name: str, file: str) -> Problem | None:
    try:
        with open(file, "rb") as opened:
            opened.read(1)
    except OSError as error:
        why = f"file {file!r} cannot be read: {os.strerror(error.errno or 0)}; expected a PEM file"
        return Problem(f"admin.tls.{name}", why)
    return None


def _unusable(cert_file: str, key_file: str, client_ca_file: str) -> list[Problem]:
    context, problems = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []
    if cert_file and key_file:
        try:
            # With a password, be it none: of a key that is locked OpenSSL would ask for it on the terminal.
            context.load_cert_chain(cert_file, key_file, password="")
        except (ssl.SSLError, OSError) as error:
            why = f"{cert_file!r} with {key_file!r} cannot be used ({_told(error)}); expected a PEM pair"
            problems.append(Problem("admin.tls.cert_file", why))
    if client_ca_file:
        try:
            context.load_verify_locations(client_ca_file)
        except (ssl.SSLError, OSError) as error:
            why = f"{client_ca_file!r} cannot be used ({_told(error)}); expected certificates in PEM"
            problems.append(Problem("admin.tls.client_ca_file", why))
    return problems


def _told(error: OSError) -> str:
    reason = getattr(error, "reason", None)
    return str(reason or error.strerror or error).replace("_", " ").lower()
