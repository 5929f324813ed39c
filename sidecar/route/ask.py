"""What picking has to know of one request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from sidecar.policy.snapshot import HashOn


def no_key(on: HashOn) -> bytes | None:
    return None


class Ask(NamedTuple):
    """`model`: as the app asked. `key`: what it has in common with those that shall go to the same endpoint."""

    model: str | None = None
    key: Callable[[HashOn], bytes | None] = no_key


ANYTHING: Final = Ask()
