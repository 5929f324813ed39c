"""What picking has to know of one request."""

from __future__ import annotations

from typing import NamedTuple


class Ask(NamedTuple):
    """`model`: as the app asked. `key`: what requests have in common that shall go to the same endpoint."""

    model: str | None = None
    key: bytes | None = None


ANYTHING = Ask()
