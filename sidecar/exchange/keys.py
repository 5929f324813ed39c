"""The keys of one service, used in turn.

In:      the service's credentials; what the ledger says of each.
Out:     the key of the next attempt: the first in turn that is not cooling. When all are, the one whose turn it is,
         for an attempt that is made nevertheless.
Rule:    a key whose file holds another value than the one that was refused is a new key.
Errors:  SecretMissing at construction.
"""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.health.events import HealthEvent
from sidecar.health.ledger import Ledger
from sidecar.health.scopes import Scope
from sidecar.policy.snapshot import Credential, Service
from sidecar.upstream.secrets import SecretReader


class Key:
    """One of them. `name` says where it comes from."""

    __slots__ = ("_header", "_prefix", "_reader", "blamed", "scope")

    def __init__(self, credential: Credential, name: str) -> None:
        self.scope = Scope("credential", name)
        self.blamed: str | None = None  # the value that is cooling
        self._header = credential.header
        self._prefix = credential.prefix
        self._reader = SecretReader(credential.secret)

    @property
    def name(self) -> str:
        return self.scope.name

    def value(self) -> str:
        return self._reader.value()

    def field(self) -> tuple[str, str]:
        """The header field, by name and value."""
        return self._header, self._prefix + self._reader.value()


class Keys:
    """Those of one service under one policy."""

    __slots__ = ("_keys", "_ledger", "_service", "_turn")

    def __init__(self, service: Service, ledger: Ledger) -> None:
        self._service = service.name
        self._ledger = ledger
        self._turn = 0
        names = service.credential_names()
        self._keys = tuple(Key(one, name) for one, name in zip(service.credentials, names, strict=True))

    def __len__(self) -> int:
        return len(self._keys)

    def next(self, now: float) -> Key | None:
        """None: the service has none of its own."""
        keys = self._keys
        if len(keys) < 2:
            return keys[0] if keys else None
        scopes = self._ledger.scopes(self._service)
        for step in range(len(keys)):
            key = keys[(self._turn + step) % len(keys)]
            if scopes.cooling(key.scope, now) is None:
                self._turn += step + 1
                return key
        self._turn += 1
        return keys[self._turn % len(keys)]

    def renew(self, now: float) -> Sequence[HealthEvent]:
        """Asked when all are cooling: one whose value has changed since is new."""
        events: list[HealthEvent] = []
        for key in self._keys:
            if key.blamed is not None and key.value() != key.blamed:
                key.blamed = None
                events += self._ledger.restore_key(self._service, key.name, now)
        return events
