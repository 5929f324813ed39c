"""A server process that lives as long as a `with` block, on a free port of the loopback.

In:      a command line and how to tell that it is ready.
Out:     the process, ready; when the block ends it is killed by its own id, stopped or not.
Errors:  PeerFailed with the last lines it wrote, if it ends or is not ready within READY_WITHIN.
"""

import http.client
import random
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tests.itest.peers.install import last_lines

READY_WITHIN = 30.0
PORTS = range(20_000, 32_000)  # below the kernel's ephemeral range: no outgoing connection takes one first


class PeerFailed(Exception):
    """A peer was started and did not become ready."""


@contextmanager
def serving(command: Sequence[str], ready: Callable[[], bool]) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            give_up = time.monotonic() + READY_WITHIN
            while not ready():
                if process.poll() is not None or time.monotonic() > give_up:
                    output.seek(0)
                    raise PeerFailed(f"{command[0]} (exit {process.poll()}): {last_lines(output.read())}")
                time.sleep(0.02)
            yield process
        finally:
            process.kill()  # reaches a stopped process too, and neither server has anything to save
            process.wait()


def answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise PeerFailed("no free port")
