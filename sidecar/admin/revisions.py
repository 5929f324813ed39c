"""The policies that were accepted, newest last, and the text they are kept as.

In:      accepted policies.
Out:     Revision and State; encode() and decode() for the state folder.
Format:  two lines of JSON: a header with the format and the SHA-256 of the second line, then the state, with
         policies by the field names of the config file. Secrets given literally stand in it as they are.
Limits:  50 revisions, 3 MiB together, so that a list of them fits into one gRPC message (4 MiB by default);
         the newest is always kept.
Errors:  decode() raises BadState with what is wrong.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from llmsidecar.v1.policy_pb2 import Policy

from sidecar.frozen import Frozen
from sidecar.policy.build import etag_of

FORMAT = 1
MOST_REVISIONS = 50
MOST_BYTES = 3 * 1024 * 1024


class BadState(ValueError):
    """Why a stored state cannot be used."""


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


def encode(state: State) -> bytes:
    """The state as text; the cost is that of joining, not of writing every policy anew."""
    pending = "null"
    if state.pending is not None:
        pending = f'{{"at": {state.pending.at}, "target": {state.pending.target.text}}}'
    body = (
        f'{{"file_digest": {json.dumps(state.file_digest)}, "pending": {pending}, '
        f'"revisions": [{", ".join(revision.text for revision in state.revisions)}]}}'
    ).encode()
    header = json.dumps({"format": FORMAT, "sha256": hashlib.sha256(body).hexdigest()})
    return header.encode() + b"\n" + body + b"\n"


def decode(text: bytes) -> State:
    """Reads what encode() wrote; raises BadState."""
    header_line, _, body = text.partition(b"\n")
    try:
        header = json.loads(header_line)
        if header["format"] != FORMAT:
            raise BadState(f"has the format {header['format']!r}; this version reads {FORMAT}")
        if header["sha256"] != hashlib.sha256(body.removesuffix(b"\n")).hexdigest():
            raise BadState("does not have the content that its checksum was made for")
        fields = json.loads(body)
        pending = fields["pending"]
        return State(
            revisions=tuple(_revision(each) for each in fields["revisions"]),
            file_digest=str(fields["file_digest"]),
            pending=None if pending is None else Pending(_revision(pending["target"]), int(pending["at"])),
        )
    except BadState:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, json_format.ParseError) as error:
        raise BadState(f"cannot be read: {error}") from error


def _revision(fields: Mapping[str, Any]) -> Revision:
    policy = json_format.ParseDict(fields["policy"], Policy())
    return revision(
        int(fields["generation"]), policy, fields["source"], fields["comment"], fields["applied_at"]
    )
