"""The daemon as it answers over its admin API: reachable, with the policy of the file, with endpoints in rotation."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from llmsidecar.v1.policy_pb2 import GetPolicyResponse, Policy

from sidecar.cli.checkup.finding import Finding, ok, warn
from sidecar.policy import etag_of, redacted

if TYPE_CHECKING:
    from llmsidecar.v1.health_pb2 import Endpoint, ScopeCooled
    from sidecar_client.admin import AdminClient


REMEDIES = {
    "auth": "replace the key: a file is read again by itself, the environment at a restart",
    "no_credit": "pay the vendor, or give the service another key",
    "model_not_found": "correct model or models of the service, or load the model there",
}
BY_ITSELF = "it is asked again by itself; sidecar explain tells who answers meanwhile"


def look_at_daemon(admin: AdminClient, of_file: Policy | None, path: str) -> tuple[list[Finding], Policy]:
    """Raises what the client raises when nobody answers."""
    running = admin.get_policy()
    found = [ok("daemon", f"{admin.address}: runs generation {running.generation}, from {running.source}")]
    if of_file is not None and etag_of(running.policy) != etag_of(redacted(of_file)):
        what = f"it runs another policy than {path} has"
        found.append(warn("daemon", what, f"sidecar policy diff {path}; then apply it, or change the file"))
    found += _pending(running)
    standing = admin.list_endpoints()
    found += [finding for endpoint in standing.endpoints for finding in _endpoint(endpoint)]
    found += map(_left_alone, standing.cooling)
    return found, running.policy


def _pending(running: GetPolicyResponse) -> list[Finding]:
    if not running.HasField("reverts_at"):
        return []
    left = running.reverts_at.ToNanoseconds() / 1e9 - time.time_ns() / 1e9
    return [
        warn("daemon", f"its policy takes itself back in {left:.0f} s", "sidecar policy confirm keeps it")
    ]


def _endpoint(endpoint: Endpoint) -> list[Finding]:
    from sidecar.cli.describe import in_rotation
    from sidecar.cli.plain import plain

    if in_rotation(endpoint):  # be it at its limit, which is what a limit is for
        return []
    state = plain(endpoint).get("state", "out")
    what = f"{endpoint.service} {endpoint.endpoint} is {state}{f': {endpoint.reason}' if endpoint.reason else ''}"
    remedy = f"sidecar events tells why; sidecar restore {endpoint.service} {endpoint.endpoint}"
    return [warn("daemon", what, remedy)]


def _left_alone(scope: ScopeCooled) -> Finding:
    what = f"{scope.service}: {scope.scope} {scope.name} is left alone: {scope.reason}"
    return warn("daemon", what, REMEDIES.get(scope.reason, BY_ITSELF))
