"""Prometheus: the store that scrapes the sidecar's metrics, and promtool, which checks and tests its rules.

In:      a configuration as a mapping; the port is a free one. `{rules}` and the like are the caller's own paths.
Out:     a running Prometheus on 127.0.0.1 only, with an empty store in a folder that goes with it.
Units:   seconds.
Limits:  the API without the pages of its UI and without service discovery, which need other tools and minutes more
         to be built. Exemplars are stored.
Errors:  Refused, with its reason, for a query that Prometheus does not accept.
"""

import json
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.itest.peers.install import built, go
from tests.itest.peers.serving import answers, free_port, serving

PROMETHEUS = "v0.316.0"  # of the Go module; the release is 3.16.0
WITHOUT = "remove_all_sd"


class Refused(Exception):
    """Prometheus said no to a question."""


def prometheus() -> Path:
    return _built("prometheus")


def promtool() -> Path:
    return _built("promtool")


def _built(name: str) -> Path:
    def build(work: Path) -> Path:
        # In the module cache, for the same reason as Jaeger.
        module = f"github.com/prometheus/prometheus@{PROMETHEUS}"
        source = json.loads(go(work, "mod", "download", "-json", module))["Dir"]
        flags = ("-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-tags", WITHOUT)
        go(work, "build", "-C", source, *flags, "-o", str(work / name), f"./cmd/{name}")
        return work / name

    return built(name, PROMETHEUS, build, recipe=WITHOUT)


@dataclass(frozen=True)
class Prometheus:
    """The HTTP API of a running one."""

    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer."""
        question = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(question, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refusal:
            raise Refused(refusal.read().decode(errors="replace")) from None

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The vector that an expression is at this moment."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found


@contextmanager
def running_prometheus(config: Mapping[str, Any]) -> Iterator[Prometheus]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="prometheus-") as folder:
        file = Path(folder) / "prometheus.yml"
        file.write_text(yaml.safe_dump(dict(config)))
        command = [
            str(prometheus()),
            f"--config.file={file}",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--enable-feature=exemplar-storage",
        ]
        with serving(command, lambda: answers(port, "/-/ready")):
            yield Prometheus(f"http://127.0.0.1:{port}")
