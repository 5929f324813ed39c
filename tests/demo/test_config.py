"""The config that the demo runs with."""

from __future__ import annotations

from sidecar.demo.config import FALLBACK, FIRST_PACKET, PRIMARY, config
from sidecar.policy import load
from sidecar.policy.build import build_settings, build_snapshot
from sidecar.terms import TcpAddress, UnixAddress

TEXT = config(
    listen=(UnixAddress("/tmp/d/llm.sock"), TcpAddress("127.0.0.1", 0)),
    admin=(UnixAddress("/tmp/d/admin.sock"),),
    ops=(TcpAddress("127.0.0.1", 8802),),
    primary_url="http://127.0.0.1:8000/v1",
    fallback_url="http://127.0.0.1:8001/v1",
)


def test_it_is_a_config_like_any_other() -> None:
    """`sidecar run` could run it: no problem and no warning."""
    loaded = load(TEXT.encode())
    assert (loaded.problems, loaded.warnings) == ((), ())
    settings = build_settings(loaded.config)
    assert settings.listen == (UnixAddress("/tmp/d/llm.sock"), TcpAddress("127.0.0.1", 0))
    assert settings.ops_listen == (TcpAddress("127.0.0.1", 8802),)


def test_concurrency_adapts_only_when_that_is_asked_for() -> None:
    """The reference scenario comes first."""
    asked_for = config(
        listen=(), admin=(), ops=(), primary_url="http://a", fallback_url="http://b", adaptive=True
    )
    for text, on in ((TEXT, False), (asked_for, True)):
        primary = build_snapshot(load(text.encode()).config.policy, 1).services[PRIMARY]
        assert (primary.adaptive_concurrency is not None) is on


def test_it_is_the_policy_of_the_reference_scenario() -> None:
    """But for the ejection, which is short enough to see its end."""
    snapshot = build_snapshot(load(TEXT.encode()).config.policy, 1)
    assert snapshot.routes[0].services == (PRIMARY, FALLBACK)
    primary = snapshot.services[PRIMARY]
    assert primary.timeouts.first_packet == FIRST_PACKET == 0.2
    health = primary.passive_health
    assert (health.failure_percentage_threshold, health.interval, health.base_ejection_time) == (50, 1, 5)
    assert snapshot.services[FALLBACK].model_for("any") == "demo-large"
