"""The one file that accepted policies are kept in, whole at any time.

In:      a State.
Out:     the State that was saved last, or None.
Format:  two lines of JSON: a header with the format and the SHA-256 of the second line, then the state, with
         policies by the field names of the config file. Secrets given literally stand in it as they are.
Crash:   a save writes a new file beside the old one, flushes it to the disk, renames it over the old one and
         flushes the folder: whenever the process or the machine dies, the old or the new state is there.
Mode:    0600 for the file, 0700 for a folder that had to be made: literal secrets stand in it.
Errors:  OSError from save(); BadState from decode(). A file that cannot be read as a state is set aside as
         `policy.json.corrupt`, and `damage` says why; nothing else stops.
Blocks:  as long as the disk takes to flush; run save() in a thread.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from llmsidecar.v1.policy_pb2 import Policy

from sidecar.admin.revisions import Pending, Revision, State, revision

NAME = "policy.json"
FORMAT = 1


class BadState(ValueError):
    """Why a stored state cannot be used."""


class PolicyStore:
    """Keeps a State in `state_dir`."""

    def __init__(self, state_dir: str | Path) -> None:
        self._folder = Path(state_dir)
        self.path = self._folder / NAME
        self.damage: str | None = None  # why the file that was there could not be used

    def load(self) -> State | None:
        """What was saved last; None when there is nothing usable, and then `damage` may say why."""
        self.damage = None
        try:
            return decode(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except BadState as error:
            self.damage = f"{self.path} {error}; {self._set_aside()}"
        except OSError as error:
            self.damage = f"{self.path} cannot be read: {error.strerror}"
        return None

    def save(self, state: State) -> None:
        """Returns when the state would survive a power cut; raises OSError and leaves the old one otherwise."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._folder / f".{NAME}.new"
        new.unlink(missing_ok=True)  # left by a crash, perhaps with another owner or mode
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(encode(state))
            file.flush()
            os.fsync(file.fileno())
        new.rename(self.path)
        self._sync_folder()

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _set_aside(self) -> str:
        aside = self.path.with_name(f"{NAME}.corrupt")
        with suppress(OSError):
            self.path.rename(aside)
            return f"set aside as {aside.name}"
        return "it could not be set aside"


def encode(state: State) -> bytes:
    """The state as text; the cost is that of joining, not of writing every policy anew."""
    pending = "null"
    if state.pending is not None:
        pending = f'{{"at": {state.pending.at}, "target": {state.pending.target.text}}}'
    body = (
        f'{{"file_digest": {json.dumps(str(state.file_digest))}, "pending": {pending}, '
        f'"revisions": [{", ".join(str(revision.text) for revision in state.revisions)}]}}'
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
