"""The policies that were accepted, newest last, and the texts that stand for each.

In:      accepted policies.
Out:     Revision and State.
Limits:  50 revisions, 3 MiB together, so that a list of them fits into one gRPC message (4 MiB by default);
         the newest is always kept.
Note:    the texts are made when they are first read. Where nothing is kept and no API asks, they never are, and
         protobuf's JSON with all it brings is not loaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from llmsidecar.v1.policy_pb2 import Policy

from sidecar.frozen import Frozen
from sidecar.policy.build import etag_of

MOST_REVISIONS = 50
MOST_BYTES = 3 * 1024 * 1024


class Text:
    """A text that is made once, when it is first read."""

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make
        self._made: str | None = None

    def __str__(self) -> str:
        if self._made is None:
            self._made = self._make()
        return self._made

    def __len__(self) -> int:
        return len(str(self))

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other) if isinstance(other, Text | str) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


def digest_of(policy: Policy) -> Text:
    """The same for the same content; the policy must not be changed any more."""
    return Text(lambda: etag_of(policy))


class Revision(Frozen):
    """One accepted policy. `digest` is the same for the same content, `etag` only for the same acceptance."""

    generation: int
    policy: Policy
    digest: Text
    source: str
    comment: str
    applied_at: int  # Unix nanoseconds
    text: Text  # as stored; made once, because all revisions are written at each change

    @property
    def etag(self) -> str:
        return f"{self.generation}-{self.digest}"


def revision(generation: int, policy: Policy, source: str, comment: str, applied_at: int) -> Revision:
    """A revision with its digest and its text."""
    kept = Policy()
    kept.CopyFrom(policy)

    def stored() -> str:
        from google.protobuf import json_format

        fields = {
            "generation": generation,
            "source": source,
            "comment": comment,
            "applied_at": applied_at,
            "policy": json_format.MessageToDict(kept, preserving_proto_field_name=True),
        }
        return json.dumps(fields, ensure_ascii=False)

    return Revision(generation, kept, digest_of(kept), source, comment, applied_at, Text(stored))


class Pending(Frozen):
    """An update that takes itself back: to what, and when (Unix nanoseconds)."""

    target: Revision
    at: int


class State(Frozen):
    """All that outlives the process."""

    revisions: tuple[Revision, ...] = ()
    file_digest: Text | str = ""  # of the config file's policy when this was stored; empty: there was none
    pending: Pending | None = None

    @property
    def newest(self) -> Revision | None:
        return self.revisions[-1] if self.revisions else None

    def with_newest(self, newest: Revision, file_digest: Text | str, pending: Pending | None) -> State:
        return State(_trimmed((*self.revisions, newest)), file_digest, pending)


def _trimmed(revisions: tuple[Revision, ...]) -> tuple[Revision, ...]:
    if len(revisions) == 1:  # and nobody has to know how long it is
        return revisions
    kept, size = 0, 0
    for candidate in reversed(revisions[-MOST_REVISIONS:]):
        size += len(candidate.text)
        if kept and size > MOST_BYTES:
            break
        kept += 1
    return revisions[-kept:]
