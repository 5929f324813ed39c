"""Secrets by reference: read when needed, re-read when their file changes.

In:      a Secret of the policy.
Out:     its value; never logged, never part of an error's text.
Errors:  SecretMissing says which reference has no usable value.
Limits:  a file is looked at again after RECHECK seconds at the earliest; if it has become unreadable, the last
         value goes on being used, as during the swap of a mounted Kubernetes secret.
"""

from __future__ import annotations

import os
from time import monotonic

from sidecar.policy.snapshot import Secret

RECHECK = 1.0


class SecretMissing(Exception):
    """The reference has no usable value."""


class SecretReader:
    """One secret that is asked for often."""

    def __init__(self, secret: Secret) -> None:
        self.secret = secret
        self._stamp: tuple[int, int, int] | None = None
        self._value = self._read()
        self._checked = monotonic()

    def value(self) -> str:
        """The present value."""
        if self.secret.file is not None and monotonic() - self._checked >= RECHECK:
            self._checked = monotonic()
            try:
                self._value = self._read()
            except SecretMissing:
                return self._value
        return self._value

    def _read(self) -> str:
        secret = self.secret
        if secret.file is not None:
            return self._read_file(secret.file)
        if secret.env is not None:
            value = os.environ.get(secret.env)
            if not value:
                raise SecretMissing(f"environment variable {secret.env} is not set")
            return _checked(value, f"environment variable {secret.env}")
        return _checked(secret.literal or "", "the literal")

    def _read_file(self, path: str) -> str:
        try:
            status = os.stat(path)
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp == self._stamp:
                return self._value
            with open(path, encoding="utf-8") as file:
                text = file.read(65536)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "is no UTF-8 text"
            raise SecretMissing(f"file {path} cannot be read: {why}") from error
        value = _checked(text.strip(), f"file {path}")
        self._stamp = stamp
        return value


def _checked(value: str, origin: str) -> str:
    if not value:
        raise SecretMissing(f"{origin} is empty")
    if not value.isascii() or not value.isprintable():
        raise SecretMissing(f"{origin} holds characters that no header field may bear")
    return value
