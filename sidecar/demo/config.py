"""The demo's cast, and the config the sidecar runs with: a file like any other.

In:      addresses.
Out:     specs of the two services, the text of a config.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sidecar.demo.gpu import GpuSpec
from sidecar.terms import Address

PRIMARY = "self-hosted"
FALLBACK = "vendor"
FIRST_PACKET = 0.2

PRIMARY_GPU = GpuSpec(down=4.0, loading=8.0)
FALLBACK_GPU = GpuSpec(slots=400, capacity=200.0, prefill=0.08, limit=10_000)

CONFIG = """\
listen: [{listen}]
admin: {{listen: [{admin}]}}
ops: {{listen: [{ops}]}}
drain_timeout: 1s
policy:
  services:
    - name: {primary}
      url: {primary_url}
      model: demo-7b
      timeouts: {{connect: 1s, first_packet: {first_packet:.0f}ms, idle: 20s, total: 10m}}
      passive_health:
        {{failure_percentage_threshold: 50, interval: 1s, base_ejection_time: 5s, ramp: 3s}}
      adaptive_concurrency: {{enabled: {adaptive}}}  # false: lateness ejects, as in the reference scenario
    - name: {fallback}
      url: {fallback_url}
      model: demo-large
  routes:
    - services: [{primary}, {fallback}]
"""


def primary_gpu(*, cancels: bool) -> GpuSpec:
    return replace(PRIMARY_GPU, cancels=cancels)


def config(
    *,
    listen: Sequence[Address],
    admin: Sequence[Address],
    ops: Sequence[Address],
    primary_url: str,
    fallback_url: str,
    adaptive: bool = False,
) -> str:
    """What `sidecar run --config` could run as well."""
    return CONFIG.format(
        listen=_list(listen),
        admin=_list(admin),
        ops=_list(ops),
        primary=PRIMARY,
        primary_url=primary_url,
        fallback=FALLBACK,
        fallback_url=fallback_url,
        first_packet=FIRST_PACKET * 1000,
        adaptive=str(adaptive).lower(),
    )


def _list(addresses: Sequence[Address]) -> str:
    return ", ".join(f'"{address}"' for address in addresses)
