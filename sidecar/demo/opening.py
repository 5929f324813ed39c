"""The first lines of the demo: who plays, and what to paste into another terminal meanwhile.

In:      the addresses as they were bound, and how the command `sidecar` is called here.
Out:     lines that a shell takes as they are: prose is comments, commands begin at the margin.
"""

from __future__ import annotations

from typing import NamedTuple

from sidecar.demo.config import FALLBACK, FIRST_PACKET, PRIMARY
from sidecar.demo.gpu import GpuSpec

ASK = (
    "-H 'content-type: application/json' "
    """-d '{"model": "any", "stream": true, "messages": [{"role": "user", "content": "hello"}]}'"""
)
SNIPPET = """\
python - <<'END'
from openai import OpenAI
app = OpenAI(base_url="http://%s/v1", api_key="the sidecar wants none")
question = [{"role": "user", "content": "hello"}]
for event in app.chat.completions.create(model="any", messages=question, stream=True):
    print(event.choices[0].delta.content or "", end="", flush=True)
print()
END"""


class Addresses(NamedTuple):
    """Paths of Unix sockets; `host:port` for TCP."""

    data_socket: str
    data: str
    admin_socket: str
    admin: str
    ops: str


def opening(at: Addresses, primary: GpuSpec, sidecar: str) -> list[str]:
    """What is printed before anything happens."""
    return [
        f"# {PRIMARY}: a simulated GPU with {primary.slots} slots, {primary.capacity:g} answers a second;"
        f" {primary.limit} requests in flight kill it",
        f"# {FALLBACK}: the fallback, a simulated API of large capacity with a model name of its own",
        f"# the sidecar: a first packet later than {FIRST_PACKET * 1000:.0f} ms is asked of {FALLBACK} instead;"
        f" at 50 % failures {PRIMARY} is ejected",
        "",
        "# Ask it as any app would, from another terminal:",
        f"curl -N http://{at.data}/v1/chat/completions {ASK}",
        f"curl -N --unix-socket {at.data_socket} http://localhost/v1/chat/completions {ASK}",
        *(SNIPPET % at.data).splitlines(),
        "",
        "# Watch it, policy and health events by gRPC (over TCP: the same without -unix, at "
        + at.admin
        + "):",
        f"{sidecar} top --admin unix:{at.admin_socket}",
        _grpcurl(at.admin_socket, "HealthService/WatchHealthEvents"),
        _grpcurl(at.admin_socket, "PolicyService/GetPolicy"),
        "",
        f"# The live page, for a browser: http://{at.ops}/   (Prometheus: http://{at.ops}/metrics)",
        "",
    ]


def _grpcurl(path: str, method: str) -> str:
    return f"grpcurl -plaintext -unix {path} llmsidecar.v1.{method}"
