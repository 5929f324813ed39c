"""`sidecar run` as a process of its own, as an operator has it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

READY = re.compile(r"^ready listen=(\S+) admin=(\S+) ops=(\S+)$")


class Process:
    """A running daemon; `lines` are its JSON lines so far."""

    def __init__(self, path: Path, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sidecar", "run", "--config", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
        )
        self.lines: list[dict[str, Any]] = []
        self.stderr: list[str] = []
        self._news = threading.Condition()
        self._threads = [
            threading.Thread(target=self._follow_stdout, daemon=True),
            threading.Thread(target=self._follow_stderr, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self._wait(lambda: any(READY.match(line) for line in self.stderr) or not self.alive)
        ready = next((found for line in self.stderr if (found := READY.match(line))), None)
        assert ready is not None, self.stderr
        self.listen = ready[1].split(",")
        self.admin = ready[2].split(",")
        self.ops = ready[3].split(",")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        return self._process.wait(20)

    def stop(self) -> int:
        if self.alive:
            self.signal(signal.SIGTERM)
        code = self.wait()
        for thread in self._threads:
            thread.join(5)
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()
        return code

    def wait_for(self, event: str, **fields: Any) -> dict[str, Any]:
        """The first JSON line of that event, from the beginning or to come."""

        def found() -> dict[str, Any] | None:
            return next((x for x in self.lines if x["event"] == event and fields.items() <= x.items()), None)

        self._wait(lambda: found() is not None)
        line = found()
        assert line is not None, (event, self.lines, self.stderr)
        return line

    def _wait(self, met: Any) -> None:
        with self._news:
            self._news.wait_for(met, 20)

    def _follow_stdout(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self.lines.append(json.loads(line))
                self._news.notify_all()

    def _follow_stderr(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._news:
                self.stderr.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


@contextmanager
def running(config: dict[str, Any], folder: Path, **env: str) -> Iterator[Process]:
    path = folder / "sidecar.yaml"
    path.write_text(yaml.safe_dump(config))
    process = Process(path, env)
    try:
        yield process
    finally:
        process.stop()


def refused(folder: Path, text: str, **env: str) -> tuple[int, str]:
    """(exit code, stderr) of a daemon that does not start."""
    path = folder / "sidecar.yaml"
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", "run", "--config", str(path)],
        capture_output=True,
        text=True,
        timeout=20,
        env={**os.environ, **env},
        check=False,
    )
    return done.returncode, done.stderr.replace(str(path), "FILE")
