"""The admin API as an operator calls it: the real grpcurl, without any proto file.

In:      an address of the ready line; requests by the JSON names of the schema.
Out:     answers and refusals as JSON; a watch that gives one event after the other.
Errors:  an answer where a refusal is due, or the other way round, is an AssertionError with what grpcurl wrote;
         so is an event that does not come within PATIENCE.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

PATIENCE = 20.0  # seconds
REFUSED = 64  # grpcurl's exit code is this plus the status code

Json = dict[str, Any]


@dataclass(frozen=True)
class Grpcurl:
    """grpcurl at one address."""

    program: Path
    address: str

    def text(self, *words: str) -> str:
        """What a verb of grpcurl prints: `list`, `describe NAME`."""
        done = self._run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def call(self, method: str, **request: Any) -> Json:
        done = self._run("-d", json.dumps(request), target=method)
        assert done.returncode == 0, done.stderr
        answer: Json = json.loads(done.stdout)
        return answer

    def refused(self, method: str, **request: Any) -> Json:
        """The google.rpc.Status of a call that fails."""
        done = self._run("-format-error", "-d", json.dumps(request), target=method)
        assert done.returncode > REFUSED, done.stdout + done.stderr
        status: Json = json.loads(done.stderr)
        assert status["code"] == done.returncode - REFUSED
        return status

    @contextmanager
    def watch(self, **request: Any) -> Iterator[Watch]:
        """WatchHealthEvents until the block ends."""
        method = "llmsidecar.v1.HealthService/WatchHealthEvents"
        command = self._command("-d", json.dumps(request), target=method)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            watch = Watch(process.stdout)
            try:
                yield watch
            finally:
                process.terminate()
                watch.end()

    def _run(self, *words: str, target: str | None = None) -> subprocess.CompletedProcess[str]:
        command = self._command(*words, target=target)
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    def _command(self, *words: str, target: str | None) -> list[str]:
        path = self.address.removeprefix("unix:")
        where = [self.address] if path == self.address else ["-unix", path]
        if target is None:  # a verb comes after the address, options before it
            return [str(self.program), "-plaintext", *where, *words]
        return [str(self.program), "-plaintext", *words, *where, target]


class Watch:
    """The events of one watch, as grpcurl prints them: one indented object behind the other."""

    def __init__(self, output: IO[str]) -> None:
        self._output = output
        self._events: list[Json] = []
        self._news = threading.Condition()
        self._taken = 0
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def next(self) -> Json:
        with self._news:
            came = self._news.wait_for(lambda: len(self._events) > self._taken, PATIENCE)
            assert came, f"nothing came after {self._events}"
            self._taken += 1
            return self._events[self._taken - 1]

    def take(self, count: int) -> list[Json]:
        return [self.next() for _ in range(count)]

    def end(self) -> None:
        self._thread.join(PATIENCE)

    def _follow(self) -> None:
        lines: list[str] = []
        for line in self._output:
            lines.append(line)
            if line == "}\n":
                with self._news:
                    self._events.append(json.loads("".join(lines)))
                    self._news.notify_all()
                lines.clear()
