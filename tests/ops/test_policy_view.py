"""What the page learns of the policy: everything in force, and no secret."""

from __future__ import annotations

import json

import pytest

from sidecar.frozen import Frozen
from sidecar.ops.policy_view import policy_view
from sidecar.policy import load
from sidecar.policy.build import build_snapshot
from sidecar.policy.snapshot import Route, Service

CANARY = "sk-canary"
CONFIG = f"""\
policy:
  services:
    - name: own
      url: http://10.0.0.7:8000/v1
      endpoints: ["10.0.0.7:8000", "unix:/run/llm.sock"]
      timeouts: {{first_packet: 200ms}}
      active_health: {{path: /healthz}}
    - name: vendor
      url: https://api.example/v1
      model: large
      credential: {{bearer: {{env: VENDOR_KEY}}}}
      headers: {{set: {{x-team-key: {CANARY}}}, remove: [x-internal]}}
    - name: careless
      url: https://other.example/v1
      credential: {{header: {{name: api-key, value: {{literal: {CANARY}}}}}}}
  routes:
    - match: {{models: ["gpt-*"], headers: {{x-tenant: {CANARY}}}}}
      services: [own, vendor, careless]
      deadline: 30s
"""


def view() -> dict[str, object]:
    loaded = load(CONFIG.encode())
    assert not loaded.problems
    shown: dict[str, object] = json.loads(json.dumps(policy_view(build_snapshot(loaded.config.policy, 7))))
    return shown


def test_no_secret_is_shown_wherever_it_stands() -> None:
    """In a literal, in a header that the policy sets, in one that a route matches."""
    assert CANARY not in json.dumps(view())


def test_of_a_credential_its_source_is_told() -> None:
    """It is the first thing to look at after a 401."""
    services = view()["services"]
    assert isinstance(services, list)
    assert [service["credentials"] for service in services] == [
        [],
        ["authorization from $VENDOR_KEY"],
        ["api-key from the policy itself (hidden)"],
    ]
    assert (services[1]["headers_set"], services[1]["headers_removed"]) == (["x-team-key"], ["x-internal"])


def test_defaults_are_filled_in() -> None:
    """What is in force, not what was written."""
    services = view()["services"]
    assert isinstance(services, list)
    own, vendor, _ = services
    assert own["endpoints"] == ["10.0.0.7:8000", "unix:/run/llm.sock"]
    assert (own["timeouts_seconds"]["first_packet"], vendor["timeouts_seconds"]["first_packet"]) == (
        0.2,
        30.0,
    )
    assert own["active_health"]["path"] == "/healthz"
    assert (vendor["active_health"], vendor["model"]) == (None, "large")
    assert own["passive_health"]["failure_percentage_threshold"] == 50.0


def test_routes_are_in_order_with_their_generation() -> None:
    """The page asks again when the generation is another one."""
    shown = view()
    assert shown["generation"] == 7
    routes = shown["routes"]
    assert isinstance(routes, list)
    assert routes[0]["services"] == ["own", "vendor", "careless"]
    assert (routes[0]["models"], routes[0]["headers"], routes[0]["deadline_seconds"]) == (
        ["gpt-*"],
        ["x-tenant"],
        30.0,
    )


RENAMED = {
    "set_headers": "headers_set",
    "remove_headers": "headers_removed",
    "tls": "insecure_skip_verify",
    "timeouts": "timeouts_seconds",
    "limits": "limits_bytes",
    "deadline": "deadline_seconds",
    "wait_for_retry_after": "wait_for_retry_after_seconds",
}


@pytest.mark.parametrize(("kind", "of"), [("services", Service), ("routes", Route)])
def test_no_setting_is_missing(kind: str, of: type[Frozen]) -> None:
    """A field that a later version gets shows here: an operator must not have to guess what runs."""
    shown = view()[kind]
    assert isinstance(shown, list)
    names = {RENAMED.get(name, name) for name in of.__match_args__}
    assert names <= shown[0].keys()
