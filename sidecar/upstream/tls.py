"""TLS towards a service: one context a set of files, and a new one when the files have changed.

In:      a service's Tls settings.
Out:     an ssl.SSLContext, at least TLS 1.2, ALPN http/1.1; the system's store unless `ca_file` says otherwise.
Errors:  TlsFileError names the field whose file cannot be used.
Limits:  files are looked at again after RECHECK seconds at the earliest, when a connection is dialled; if they have
         become unusable, the last context goes on being used, as between the two files of a certificate's renewal.
"""

from __future__ import annotations

import logging
import os
import ssl

from sidecar.policy.snapshot import Tls

RECHECK = 1.0

log = logging.getLogger(__name__)


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
            # With a password, be it none: of a key that is locked OpenSSL would ask for it on the terminal.
            context.load_cert_chain(tls.client_cert_file, tls.client_key_file or None, password="")
        except (OSError, ssl.SSLError) as error:
            wanted = "a certificate and its key in PEM"
            raise TlsFileError("client_cert_file", _why(tls.client_cert_file, error, wanted)) from error
    return context


class TlsReader:
    """The context of one service."""

    __slots__ = ("_checked", "_complained", "_context", "_stamps", "_tls")

    def __init__(self, tls: Tls, now: float) -> None:
        """Raises TlsFileError."""
        self._tls = tls
        self._stamps = self._look()
        self._context = client_context(tls)
        self._checked = now
        self._complained = False

    def context(self, now: float) -> ssl.SSLContext:
        """For a connection that is dialled now."""
        if now - self._checked >= RECHECK:
            self._checked = now
            stamps = self._look()
            if stamps != self._stamps:
                self._renew(stamps)
        return self._context

    def _renew(self, stamps: tuple[tuple[int, int, int] | None, ...]) -> None:
        try:
            self._context = client_context(self._tls)
        except TlsFileError as error:
            if not self._complained:
                log.warning("tls.%s; what was read before stays in use", error)
            self._complained = True
            return
        self._stamps = stamps
        self._complained = False

    def _look(self) -> tuple[tuple[int, int, int] | None, ...]:
        tls = self._tls
        paths = (tls.ca_file, tls.client_cert_file, tls.client_key_file)
        return tuple(_stamp(path) for path in paths if path)


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _why(path: str, error: OSError, wanted: str) -> str:
    return f"{path!r} cannot be used ({error.strerror or error}); expected {wanted}"
