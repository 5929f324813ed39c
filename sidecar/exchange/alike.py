"""What a request has in common with others that are better answered by the same endpoint, for a consistent hash.

In:      a request's head and body; what of them counts.
Out:     a key, None where the request has nothing of the kind.
Rule:    it knows no exchange: the plan holds it, so that would be a cycle, left to the garbage collector.
"""

from __future__ import annotations

from sidecar.policy.snapshot import HashOn
from sidecar.wire.heads import RequestHead
from sidecar.wire.request_body import prompt_prefix


class Alike:
    """`body` is emptied when nobody else will be asked."""

    __slots__ = ("_head", "body")

    def __init__(self, head: RequestHead, body: bytes) -> None:
        self._head = head
        self.body = body

    def key(self, on: HashOn) -> bytes | None:
        if on.header:
            return self._head.get(on.header.encode())
        return prompt_prefix(self.body, on.prompt_prefix)
