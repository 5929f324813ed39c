"""How a command ends early: with lines for the user and an exit code, never with a traceback."""

from __future__ import annotations

FAILED = 1
BAD_USAGE = 2
NOT_REACHABLE = 3


class Stop(Exception):
    """Raised anywhere in a command; `sidecar.__main__` prints it on stderr."""

    def __init__(self, code: int, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.code = code
        self.lines = lines
