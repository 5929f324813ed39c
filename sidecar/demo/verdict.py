"""What an app makes of the stream it got: when the answer began, and whether it came whole.

In:      the body's bytes as they come, and the number of tokens asked for.
Out:     `begun` from the first event with text on; a problem in words, empty for a whole answer.
Whole:   one id and one model in all events, exactly the text that so many tokens make, `finish_reason`,
         `[DONE]`. A body that mixes two answers, or ends early, shows.
"""

from __future__ import annotations

import json
from typing import Any

from sidecar.demo import answers


class Verdict:
    """Judges one chat stream."""

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens
        self._rest = b""
        self._said: list[str] = []
        self._sources: set[tuple[str, str]] = set()
        self._finish: str | None = None
        self._done = False
        self._error = ""

    @property
    def begun(self) -> bool:
        """There is text."""
        return bool(self._said)

    def feed(self, data: bytes) -> None:
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            if event.startswith(b"data: "):
                self._read(event.removeprefix(b"data: "))

    def problem(self) -> str:
        """After the last byte."""
        if self._error:
            return self._error
        if len(self._sources) > 1:
            return f"{len(self._sources)} answers in one"
        if not self._done or self._finish != "stop":
            return "the answer is cut"
        return (
            "" if "".join(self._said) == answers.text(self._tokens) else "the text is not the one asked for"
        )

    def _read(self, data: bytes) -> None:
        if data == b"[DONE]":
            self._done = True
            return
        value: Any = json.loads(data)
        if "error" in value:
            self._error = f"error in the stream: {value['error'].get('message')}"
            return
        self._sources.add((value["id"], value["model"]))
        for choice in value["choices"]:
            self._finish = choice["finish_reason"] or self._finish
            if content := choice["delta"].get("content"):
                self._said.append(content)
