"""A real Chromium without a window, driven over its own debugging protocol: no driver, no library, no open port.

In:      a page's address, a viewport, a colour scheme; JavaScript to evaluate; keys to press.
Out:     values, PNGs, the accessibility tree, and all that a page must not do: `complaints` of the console and of
         the content security policy, `requests` with their method and address.
How:     JSON messages that end with a NUL, written to fd 3 of the browser and read from its fd 4.
Units:   seconds, CSS pixels.
Errors:  PeerMissing without a Chromium on the PATH; BrowserFailed when it refuses a command or goes away.
Source:  the Chrome DevTools Protocol; `--remote-debugging-pipe`.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.itest.peers import PeerMissing

PATIENCE = 30.0
FLAGS = (
    "--headless",
    "--no-sandbox",  # its sandbox needs more rights than a container gives; the only page is our own
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
KEYS = {"Tab": 9, "Escape": 27, "ArrowLeft": 37, "ArrowRight": 39}


class BrowserFailed(Exception):
    """The browser refused a command, ended or fell silent."""


def chromium() -> Path:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (found := shutil.which(name)) is not None:
            return Path(found)
    raise PeerMissing("no Chromium on the PATH: apt-get install --no-install-recommends chromium")


@dataclass
class Page:
    """One tab."""

    pipe: _Pipe
    session: str
    complaints: list[str] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its answer; what happens meanwhile is noted."""
        return self.pipe.send(method, params, self.session, self._note)

    def open(self, address: str, *, width: int, height: int, dark: bool = False, phone: bool = False) -> None:
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.send(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.bringToFront")
        if error := self.send("Page.navigate", url=address).get("errorText"):
            raise BrowserFailed(f"{address}: {error}")

    def evaluate(self, script: str) -> Any:
        """What an expression is worth; a promise is awaited."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if problem := answer.get("exceptionDetails"):
            raise BrowserFailed(f"{script}: {problem}")
        return answer["result"].get("value")

    def wait_for(self, what: str, script: str, *, within: float = PATIENCE) -> Any:
        """Looks until the expression is true; returns what it is worth then."""
        give_up = time.monotonic() + within
        while not (found := self.evaluate(script)):
            assert time.monotonic() < give_up, f"not within {within:g} s: {what}"
            time.sleep(0.1)
        return found

    def press(self, key: str) -> None:
        self.send("Page.bringToFront")
        for kind in ("rawKeyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key])

    def picture(self, *, whole: bool = False) -> bytes:
        """A PNG of what is on screen, or of the whole page."""
        answer = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])

    def accessible(self) -> list[tuple[str, str]]:
        """Role and name of everything that a screen reader is told of, in its order."""
        nodes = self.send("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node["ignored"]
        ]

    def _note(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.complaints.append(str(params["args"]))
            case "Log.entryAdded":
                self.complaints.append(f"{params['entry']['source']}: {params['entry']['text']}")
            case "Network.requestWillBeSent":
                self.requests.append((params["request"]["method"], params["request"]["url"]))


@contextmanager
def browser(program: Path) -> Iterator[Browser]:
    """A browser with a fresh profile; ended with all its processes."""
    with ExitStack() as stack:
        profile = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        command_out, command_in = (_high(fd) for fd in os.pipe())
        answer_out, answer_in = (_high(fd) for fd in os.pipe())
        stack.callback(os.close, command_in)
        stack.callback(os.close, answer_out)
        process = subprocess.Popen(
            [
                *("bash", "-c", f'exec "$@" 3<&{command_out} 4>&{answer_in}', "bash", str(program)),
                *(*FLAGS, f"--user-data-dir={profile}", "about:blank"),
            ],
            pass_fds=(command_out, answer_in),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        stack.callback(_end, process)
        os.close(command_out)
        os.close(answer_in)
        yield Browser(_Pipe(command_in, answer_out))


class Browser:
    """Opens tabs."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe

    def tab(self) -> Page:
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Page(self._pipe, session)

    def _send(self, method: str, **params: Any) -> dict[str, Any]:
        return self._pipe.send(method, params, "", lambda method, params: None)


class _Pipe:
    """Commands out; answers and events in."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._answers = answers
        self._number = 0
        self._pending = b""

    def send(self, method: str, params: dict[str, Any], session: str, note: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        os.write(
            self._commands, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0"
        )
        while True:
            told = self._next(method)
            if told.get("id") == self._number:
                if "error" in told:
                    raise BrowserFailed(f"{method}: {told['error']}")
                result: dict[str, Any] = told["result"]
                return result
            if "method" in told and told.get("sessionId", "") == session:
                note(told["method"], told["params"])

    def _next(self, waiting_for: str) -> dict[str, Any]:
        while b"\0" not in self._pending:
            readable, _, _ = select.select([self._answers], [], [], PATIENCE)
            chunk = os.read(self._answers, 1 << 20) if readable else b""
            if not chunk:
                raise BrowserFailed(f"no answer to {waiting_for}")
            self._pending += chunk
        message, _, self._pending = self._pending.partition(b"\0")
        told: dict[str, Any] = json.loads(message)
        return told


def _high(fd: int) -> int:
    """The same pipe under a number that is neither 3 nor 4, which the browser's ends become."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(fd)
    return moved


def _end(process: subprocess.Popen[bytes]) -> None:
    """The whole group: the browser has a process for every page."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
