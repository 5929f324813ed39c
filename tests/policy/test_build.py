"""From messages to settings and snapshot: every default of the documentation, every text taken apart."""

from __future__ import annotations

import pytest
from google.protobuf.json_format import ParseDict
from llmsidecar.v1.config_pb2 import Config
from llmsidecar.v1.policy_pb2 import Policy, Service

from sidecar.failure import FailureKind, face
from sidecar.frozen import replace
from sidecar.policy import DEFAULT_FALLBACK_ON, build_settings, build_snapshot, load
from sidecar.policy import snapshot as frozen
from sidecar.policy.syntax import is_fallback_word, parse_url
from sidecar.terms import TcpAddress, UnixAddress
from tests.policy.examples import FULL, MINIMAL

LISTEN = (UnixAddress("/run/llm-sidecar/llm.sock"), TcpAddress("127.0.0.1", 8800))
ADMIN = (UnixAddress("/run/llm-sidecar/admin.sock"), TcpAddress("127.0.0.1", 8801))
OPS = (TcpAddress("127.0.0.1", 8802),)

DEFAULTS = frozen.Settings(
    listen=LISTEN,
    socket_mode=0o660,
    hosts=("localhost", "127.0.0.1", "[::1]"),
    allowed_origins=(),
    state_dir="",
    drain_timeout=30.0,
    admin_listen=ADMIN,
    admin_tls=None,
    ops_listen=OPS,
    otlp_endpoint="",
    sample_ratio=0.01,
    access_log=True,
    limits=frozen.Limits(),
    sample_ratio_is_written=False,
)


def snapshot(text: str) -> frozen.Snapshot:
    loaded = load(text.encode())
    assert loaded.problems == ()
    return build_snapshot(loaded.config.policy, 7)


TWO_ROUTES = """\
policy:
  services:
    - {{name: own, url: "http://127.0.0.1:9001/v1"{own}}}
    - {{name: both, url: "http://127.0.0.1:9002/v1"}}
    - {{name: last, url: "http://127.0.0.1:9003/v1"{last}}}
  routes:
    - {{match: {{models: [x]}}, services: [own, both]}}
    - {{services: [both, last]}}
"""


@pytest.mark.parametrize(
    ("own", "last", "on"),
    [
        ("", "", {"own", "both"}),
        (", adaptive_concurrency: {enabled: false}", "", {"both"}),
        ("", ", adaptive_concurrency: {enabled: true}", {"own", "both", "last"}),
        (", adaptive_concurrency: {server_cancels: true}", "", {"own", "both"}),
    ],
)
def test_concurrency_is_adaptive_where_there_is_somewhere_else_to_go(
    own: str, last: str, on: set[str]
) -> None:
    built = snapshot(TWO_ROUTES.format(own=own, last=last)).services
    assert {name for name, service in built.items() if service.adaptive_concurrency is not None} == on
    if (limit := built["own"].adaptive_concurrency) is not None:
        assert limit.cancels is ("server_cancels" in own)


def test_a_minimal_config_has_every_default_of_the_documentation() -> None:
    built = snapshot(MINIMAL)
    url = frozen.Url("http", "127.0.0.1", 9001, "/v1", "127.0.0.1:9001")
    assert built.generation == 7
    assert dict(built.services) == {"a": frozen.Service("a", url)}
    assert built.routes == (frozen.Route("/v1#0", ("a",), fallback_on=DEFAULT_FALLBACK_ON),)
    assert build_settings(load(MINIMAL.encode()).config) == DEFAULTS


def test_the_defaults_are_those_the_documentation_names() -> None:
    """Both the schema and the frozen classes hold them; here they are written out a third time, to be compared."""
    assert frozen.Timeouts() == frozen.Timeouts(connect=5, first_packet=30, idle=60, total=600, response=300)
    assert {
        *(
            "connect_failure",
            "reset",
            "bad_response",
            "first_packet_timeout",
            "response_timeout",
            "5xx",
            "429",
        ),
        *("in_stream_error", "empty_stream", "overloaded", "unhealthy", "context_length", "auth"),
    } == DEFAULT_FALLBACK_ON
    service = build_snapshot(Policy(services=[Service(name="a", url="http://a")]), 1).services["a"]
    assert service.passive_health == frozen.PassiveHealth(
        50.0, 1.0, 5, 10.0, 5, 30.0, 300.0, 10.0, 100.0, probation_requests=1, ramp=10.0, enforce=True
    )


def test_an_active_check_by_inference_has_more_time_unless_the_operator_says_how_much() -> None:
    """A busy LLM has its first token after seconds; it must not be taken out for being used."""
    for written, timeout in (({}, 10.0), ({"timeout": "2s"}, 2.0), ({"timeout": "1s"}, 1.0)):
        check = {"request": {"model": "m"}, **written}
        policy = ParseDict({"services": [{"name": "a", "url": "http://a", "active_health": check}]}, Policy())
        active = build_snapshot(policy, 1).services["a"].active_health
        assert active is not None
        assert active.timeout == timeout


def test_active_checks_are_off_unless_written_and_complete_when_empty() -> None:
    policy = ParseDict({"services": [{"name": "a", "url": "http://a", "active_health": {}}]}, Policy())
    assert build_snapshot(policy, 1).services["a"].active_health == frozen.ActiveHealth()


def test_the_full_example_is_built_as_written() -> None:
    built = snapshot(FULL)
    hosted, bailian = built.services["self-hosted"], built.services["bailian"]
    assert hosted.timeouts == frozen.Timeouts(connect=1.0, first_packet=0.2, idle=20.0, total=600.0)
    assert hosted.url.authority == "vllm.llm.svc:8000"
    assert hosted.model_for("gpt-4o") == "DeepSeek-R1-Distill-Qwen-7B"
    assert bailian.url == frozen.Url(
        "https", "dashscope.aliyuncs.com", 443, "/compatible-mode/v1", "dashscope.aliyuncs.com"
    )
    assert bailian.credentials == (
        frozen.Credential("authorization", "Bearer ", frozen.Secret(env="DASHSCOPE_API_KEY")),
    )
    assert built.routes[0].services == ("self-hosted", "bailian")
    assert build_settings(load(FULL.encode()).config) == replace(
        DEFAULTS,
        admin_listen=ADMIN[:1],
        hosts=("localhost", "127.0.0.1"),
        state_dir="/var/lib/llm-sidecar",
        otlp_endpoint="http://127.0.0.1:4317",
        sample_ratio_is_written=True,
    )


def test_header_names_are_in_lower_case_and_prefixes_without_a_last_slash() -> None:
    policy = ParseDict(
        {
            "services": [
                {
                    "name": "a",
                    "url": "https://A.Example:8443/v1/",
                    "headers": {"set": {"X-Team": "T"}, "remove": ["Cookie"]},
                    "credential": {"header": {"name": "API-Key", "value": {"file": "/k"}}},
                    "endpoints": ["unix:/s", "10.0.0.1:80"],
                    "models": {"x": "y"},
                    "max_concurrency": 4,
                    "active_health": {"expected_statuses": ["200", "400-499"]},
                }
            ],
            "routes": [{"services": ["a"], "match": {"path_prefix": "/", "headers": {"X-A": "1"}}}],
        },
        Policy(),
    )
    built = build_snapshot(policy, 1)
    service, route = built.services["a"], built.routes[0]
    assert service.url == frozen.Url("https", "a.example", 8443, "/v1", "a.example:8443")
    assert service.set_headers == (("x-team", "T"),)
    assert service.remove_headers == {"cookie"}
    assert service.credentials == (frozen.Credential("api-key", "", frozen.Secret(file="/k")),)
    assert service.endpoints == (UnixAddress("/s"), TcpAddress("10.0.0.1", 80))
    assert (service.models, service.max_concurrency) == ({"x": "y"}, 4)
    assert service.active_health is not None
    assert service.active_health.expected_statuses == ((200, 200), (400, 499))
    assert (route.name, route.path_prefix, route.headers) == ("/#0", "/", (("x-a", "1"),))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://h", frozen.Url("http", "h", 80, "", "h")),
        ("HTTPS://H:443/", frozen.Url("https", "h", 443, "", "h")),
        ("http://[::1]:8000/v1", frozen.Url("http", "::1", 8000, "/v1", "[::1]:8000")),
        ("https://h/a/b%20c", frozen.Url("https", "h", 443, "/a/b%20c", "h")),
    ],
)
def test_a_url_is_taken_apart(text: str, expected: frozen.Url) -> None:
    assert parse_url(text) == expected


def test_an_admin_that_is_off_listens_nowhere() -> None:
    config = ParseDict({"admin": {"enabled": False}, "ops": {"enabled": False}}, Config())
    settings = build_settings(config)
    assert (settings.admin_listen, settings.ops_listen) == ((), ())


def test_mutual_tls_has_its_three_files() -> None:
    tls = {"cert_file": "c", "key_file": "k", "client_ca_file": "a"}
    assert build_settings(ParseDict({"admin": {"tls": tls}}, Config())).admin_tls == ("c", "k", "a")


def test_every_default_to_fall_back_on_is_a_word_that_failures_use() -> None:
    """A word that no failure says would never lead to a fallback."""
    said = {face(kind).fallback_word for kind in FailureKind}
    assert said | {"5xx"} >= DEFAULT_FALLBACK_ON
    assert all(is_fallback_word(word) for word in DEFAULT_FALLBACK_ON | {"content_filter", "404"})


def test_every_field_of_the_frozen_classes_comes_from_the_schema() -> None:
    """A field added to the schema only would be checked, shown, and without effect."""
    others = {"url", "set_headers", "remove_headers"}
    assert set(frozen.Service.__match_args__) - others <= set(Service.DESCRIPTOR.fields_by_name)
    for message, built in (
        (Service.DESCRIPTOR.fields_by_name["timeouts"].message_type, frozen.Timeouts),
        (Service.DESCRIPTOR.fields_by_name["passive_health"].message_type, frozen.PassiveHealth),
        (Service.DESCRIPTOR.fields_by_name["active_health"].message_type, frozen.ActiveHealth),
        (Service.DESCRIPTOR.fields_by_name["tls"].message_type, frozen.Tls),
        (Config.DESCRIPTOR.fields_by_name["limits"].message_type, frozen.Limits),
    ):
        assert message is not None
        assert set(built.__match_args__) == set(message.fields_by_name)
