"""The keys of one service, used in turn.

In:      the service's credentials; what the ledger says of each.
Out:     the key of the next attempt: the first in turn that is not cooling. When all are, the one whose turn it is,
         for an attempt that is made nevertheless.
Rule:    a key whose file holds another value than the one that was refused is a new key. What was refused is what was
         sent, whatever the file holds by the time of the answer.
Errors:  SecretMissing at construction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sidecar.health.events import HealthEvent
from sidecar.health.ledger import Ledger
from sidecar.health.scopes import Scope
from sidecar.policy.snapshot import Credential, Service
from sidecar.upstream.secrets import SecretReader

Field = tuple[str, str]  # header field of a key, by name and value


class Key:
    """One of them. `name` says where it comes from."""

    __slots__ = ("_field", "_reader", "_value", "blamed", "credential", "scope")

    def __init__(self, credential: Credential, name: str) -> None:
        self.scope = Scope("credential", name)
        self.credential = credential
        self.blamed: Field | None = None  # what is cooling
        self._reader = SecretReader(credential.secret)
        self._value = ""
        self._field: Field = credential.header, ""

    @property
    def name(self) -> str:
        return self.scope.name

    def field(self) -> Field:
        """As it is to be sent now."""
        value = self._reader.value()
        if value != self._value:
            self._value, self._field = value, (self.credential.header, self.credential.prefix + value)
        return self._field


class Keys:
    """Those of one service under one policy."""

    __slots__ = ("_keys", "_ledger", "_service", "_told", "_turn")

    def __init__(
        self, service: Service, ledger: Ledger, told: Callable[[Sequence[HealthEvent]], None]
    ) -> None:
        """`told`: hears of a key that is new again."""
        self._service = service.name
        self._ledger = ledger
        self._told = told
        self._turn = 0
        names = service.credential_names()
        self._keys = tuple(Key(one, name) for one, name in zip(service.credentials, names, strict=True))

    def take_over(self, old: Keys) -> None:
        """Goes on, under another policy, with what is known of the keys that stay."""
        known = {(key.credential, key.name): key for key in old._keys}
        self._keys = tuple(known.get((key.credential, key.name), key) for key in self._keys)

    def next(self, now: float) -> Key | None:
        """For an attempt. None: the service has none of its own."""
        keys = self._keys
        if len(keys) < 2:
            return keys[0] if keys else None
        step = self._step(now)
        key = keys[(self._turn + step) % len(keys)]
        self._turn += step + 1
        return key

    def present(self, now: float) -> Key | None:
        """The next one, without taking its turn."""
        keys = self._keys
        return keys[(self._turn + self._step(now)) % len(keys)] if keys else None

    def renew(self, now: float) -> bool:
        """Asked when all are cooling: whether one has a new value."""
        return any(self._is_new(key, now) for key in self._keys)

    def _step(self, now: float) -> int:
        """To the first in turn that may be used."""
        keys, scopes = self._keys, self._ledger.scopes(self._service)
        for step in range(len(keys)):
            key = keys[(self._turn + step) % len(keys)]
            if scopes.cooling(key.scope, now) is None or self._is_new(key, now):
                return step
        return 0

    def _is_new(self, key: Key, now: float) -> bool:
        if key.blamed is None or key.field() == key.blamed:
            return False
        key.blamed = None
        if events := self._ledger.restore_key(self._service, key.name, now):
            self._told(events)
        return True
