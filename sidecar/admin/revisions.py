"""The policies that were accepted, newest last, and the text of each.

In:      accepted policies.
Out:     Revision and State.
Limits:  50 revisions, 3 MiB together, so that a list of them fits into one gRPC message (4 MiB by default);
         the newest is always kept.
"""

from __future__ import annotations

import json

from google.protobuf import json_format
from llmsidecar.v1.policy_pb2 import Policy

from sidecar.frozen import Frozen
from sidecar.policy.build import etag_of

MOST_REVISIONS = 50
MOST_BYTES = 3 * 1024 * 1024


class Revision(Frozen):
    """One accepted policy. `digest` is the same for the same content, `etag` only for the same acceptance."""

    generation: int
    policy: Policy
    digest: str
    source: str
    comment: str
    applied_at: int  # Unix nanoseconds
    text: str  # as stored; made once, because all revisions are written at each change

    @property
    def etag(self) -> str:
        return f"{self.generation}-{self.digest}"


def revision(generation: int, policy: Policy, source: str, comment: str, applied_at: int) -> Revision:
    """A revision with its digest and its text."""
    kept = Policy()
    kept.CopyFrom(policy)
    text = json.dumps(
        {
            "generation": generation,
            "source": source,
            "comment": comment,
            "applied_at": applied_at,
            "policy": json_format.MessageToDict(kept, preserving_proto_field_name=True),
        },
        ensure_ascii=False,
    )
    return Revision(generation, kept, etag_of(kept), source, comment, applied_at, text)


class Pending(Frozen):
    """An update that takes itself back: to what, and when (Unix nanoseconds)."""

    target: Revision
    at: int


class State(Frozen):
    """All that outlives the process."""

    revisions: tuple[Revision, ...] = ()
    file_digest: str = ""  # of the config file's policy when this was stored; empty: there was none
    pending: Pending | None = None

    @property
    def newest(self) -> Revision | None:
        return self.revisions[-1] if self.revisions else None

    def with_newest(self, newest: Revision, file_digest: str, pending: Pending | None) -> State:
        return State(_trimmed((*self.revisions, newest)), file_digest, pending)


def _trimmed(revisions: tuple[Revision, ...]) -> tuple[Revision, ...]:
    kept, size = 0, 0
    for candidate in reversed(revisions[-MOST_REVISIONS:]):
        size += len(candidate.text)
        if kept and size > MOST_BYTES:
            break
        kept += 1
    return revisions[-kept:]
