"""TLS towards a service: one context a set of files.

In:      a service's Tls settings.
Out:     an ssl.SSLContext, at least TLS 1.2, ALPN http/1.1; the system's store unless `ca_file` says otherwise.
Errors:  TlsFileError names the field whose file cannot be used.
"""

from __future__ import annotations

import ssl

from sidecar.policy.snapshot import Tls


class TlsFileError(Exception):
    """A file of `tls` cannot be used."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


def client_context(tls: Tls) -> ssl.SSLContext:
    """The context for dialling; raises TlsFileError."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise TlsFileError("ca_file", _why(tls.ca_file, error, "certificates in PEM")) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.client_cert_file:
        try:
            context.load_cert_chain(tls.client_cert_file, tls.client_key_file or None)
        except (OSError, ssl.SSLError) as error:
            wanted = "a certificate and its key in PEM"
            raise TlsFileError("client_cert_file", _why(tls.client_cert_file, error, wanted)) from error
    return context


def _why(path: str, error: OSError, wanted: str) -> str:
    return f"{path!r} cannot be used ({error.strerror or error}); expected {wanted}"
