"""The first lines of the demo: who plays, and what to paste into another terminal meanwhile.

In:      the addresses as they were bound, and how the command `sidecar` is called here.
Out:     lines; the indented ones are commands as they are.
"""

from __future__ import annotations

from typing import NamedTuple

from sidecar.demo.config import FALLBACK, FIRST_PACKET, PRIMARY
from sidecar.demo.gpu import GpuSpec

ASK = """-H 'content-type: application/json' \\
    -d '{"model": "any", "stream": true, "messages": [{"role": "user", "content": "hello"}]}'"""
SNIPPET = """\
  python - <<'END'
  from openai import OpenAI
  app = OpenAI(base_url="http://%s/v1", api_key="the sidecar needs none")
  question = [{"role": "user", "content": "hello"}]
  for event in app.chat.completions.create(model="any", messages=question, stream=True):
      print(event.choices[0].delta.content or "", end="", flush=True)
  END"""


class Addresses(NamedTuple):
    """Paths of Unix sockets, `host:port` for TCP."""

    data_socket: str
    data: str
    admin_socket: str
    admin: str
    ops: str


def opening(at: Addresses, primary: GpuSpec, sidecar: str) -> list[str]:
    """What is printed before anything happens."""
    return [
        f"{PRIMARY}: a simulated GPU, {primary.slots} slots, {primary.capacity:g} answers a second, "
        f"dies at {primary.limit} requests in flight",
        f"{FALLBACK}: the fallback, a simulated API of large capacity, under a model name of its own",
        f"sidecar: a first packet later than {FIRST_PACKET * 1000:.0f} ms goes to {FALLBACK}; "
        f"{PRIMARY} is ejected at 50 % failures",
        "",
        "Ask it, as any app would:",
        f"  curl -N http://{at.data}/v1/chat/completions {ASK}",
        f"  curl -N --unix-socket {at.data_socket} http://localhost/v1/chat/completions {ASK}",
        *(SNIPPET % at.data).splitlines(),
        "",
        "Watch it:",
        f"  http://{at.ops}/   in a browser: the live page (/metrics for Prometheus)",
        f"  {sidecar} top --admin unix:{at.admin_socket}",
        f"  {_grpcurl(at.admin_socket, 'HealthService/WatchHealthEvents')}",
        f"  {_grpcurl(at.admin_socket, 'PolicyService/GetPolicy')}",
        f"  the same API over TCP: {at.admin}",
        "",
    ]


def _grpcurl(path: str, method: str) -> str:
    return f"grpcurl -plaintext -unix {path} llmsidecar.v1.{method}"

