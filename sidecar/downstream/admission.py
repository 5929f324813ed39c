"""Which requests may come in at all, before a route is looked for.

In:      a head that is well formed, and the listener it came over.
Out:     None, or why it is refused.
Why:     a web page can reach localhost, too: the Host names keep DNS rebinding out, and a request with an Origin
         comes from a page that has no business spending the app's LLM budget.
"""

from __future__ import annotations

from typing import Protocol

from sidecar.exchange.answers import RETRY_AFTER
from sidecar.wire.heads import RequestHead


class Refused:
    """An answer of the sidecar's own, before any attempt."""

    __slots__ = (
        "body_bytes",
        "code",
        "model",
        "quota_fields",
        "retry_after",
        "route",
        "status",
        "stream",
        "why",
    )

    def __init__(
        self,
        status: int,
        code: str,
        why: str,
        *,
        retry_after: float = RETRY_AFTER,
        route: str = "",
        quota_fields: str = "",
        model: str | None = None,
        stream: bool = False,
        body_bytes: int = 0,
    ) -> None:
        """`retry_after`: seconds, told with 429 and 503. `route`: where one was found. `model`, `stream`, `body_bytes`:
        what was asked for, where it has been read."""
        self.status = status
        self.code = code
        self.why = why
        self.retry_after = retry_after
        self.route = route
        self.quota_fields = quota_fields
        self.model = model
        self.stream = stream
        self.body_bytes = body_bytes


class Door(Protocol):
    """What admission knows of a listener."""

    @property
    def over_tcp(self) -> bool: ...

    @property
    def hosts(self) -> frozenset[str]: ...

    @property
    def origins(self) -> frozenset[str]: ...


def admit(head: RequestHead, door: Door) -> Refused | None:
    """Host and Origin on TCP; over a Unix socket the file's mode has decided already."""
    if not door.over_tcp:
        return None
    if head.host not in door.hosts and not (head.minor == 0 and not head.host):
        return Refused(
            421, "misdirected_request", "The Host field names no host of this sidecar (see `hosts`)"
        )
    for field in head.fields:  # every one of them: an allowed Origin must not hide another
        if field.lower == b"origin" and field.value.decode("latin-1") not in door.origins:
            return Refused(
                403, "origin_not_allowed", "Requests of web pages are refused (see `allowed_origins`)"
            )
    return None
