"""The one file that accepted policies are kept in, whole at any time.

In:      a State.
Out:     the State that was saved last, or None.
Crash:   a save writes a new file beside the old one, flushes it to the disk, renames it over the old one and
         flushes the folder: whenever the process or the machine dies, the old or the new state is there.
Mode:    0600 for the file, 0700 for a folder that had to be made: literal secrets stand in it.
Errors:  OSError from save(). A file that cannot be read as a state is set aside as `policy.json.corrupt`, and
         `damage` says why; nothing else stops.
Blocks:  as long as the disk takes to flush; run save() in a thread.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from sidecar.admin.revisions import BadState, State, decode, encode

NAME = "policy.json"


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
