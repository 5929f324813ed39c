"""What a policy means is checked on messages, with the same words wherever the policy came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import ParseDict
from llmsidecar.v1.config_pb2 import Config
from llmsidecar.v1.policy_pb2 import Policy, Service

from sidecar.policy import HIDDEN, check_config, check_policy, load, load_policy, secrets_of
from tests.policy.examples import FULL, MINIMAL

Mistake = Mapping[str, Any]

HOST = "expected a base URL such as http://host:8000/v1"

# A service like this, in place of the only one -> the problems of `policy.services[0]`, without that prefix.
SERVICES: list[tuple[Mistake, list[str]]] = [
    (
        {"name": ""},
        [".name: is missing or empty; expected 1 to 64 letters, digits, dots, underscores or hyphens"],
    ),
    ({"url": "vllm:8000/v1"}, [f".url: 'vllm:8000/v1' does not start with http:// or https://; {HOST}"]),
    ({"url": "ftp://x"}, [f".url: 'ftp://x' does not start with http:// or https://; {HOST}"]),
    ({"url": "http://u:p@x"}, [f".url: has user info before its host; {HOST}"]),
    ({"url": "ftp://u:p@x"}, [f".url: the url does not start with http:// or https://; {HOST}"]),
    ({"url": "http://x/v1?key=k"}, [f".url: has a query or a fragment; {HOST}"]),
    ({"url": "http://x/v1#k"}, [f".url: has a query or a fragment; {HOST}"]),
    ({"url": "http://:80"}, [f".url: 'http://:80' has no valid host; {HOST}"]),
    ({"url": "http://a b"}, [f".url: 'http://a b' has no valid host; {HOST}"]),
    ({"url": "http://1.2.3.400"}, [f".url: 'http://1.2.3.400' has no valid host; {HOST}"]),
    ({"url": "http://[::zz]"}, [f".url: 'http://[::zz]' has no valid host; {HOST}"]),
    ({"url": "http://x:0"}, [".url: 'http://x:0' has port 0; expected a port from 1 to 65535"]),
    (
        {"url": "http://x/a b"},
        [f".url: 'http://x/a b' has a path with characters that no url may have; {HOST}"],
    ),
    (
        {"url": "http://x\n"},
        [f".url: has a control character; {HOST}", f".url: 'http://x\\n' has no valid host; {HOST}"],
    ),
    (
        {"endpoints": ["h", "h:1", "unix:/a", "h:1", "h:0", ""]},
        [
            ".endpoints[5]: is empty; expected unix:/path or host:port",
            ".endpoints[0]: 'h' has no port; expected unix:/path or host:port",
            ".endpoints[3]: is the same as policy.services[0].endpoints[1]; expected every endpoint once",
            ".endpoints[4]: 'h:0' has port 0; expected a port from 1 to 65535",
        ],
    ),
    (
        {"dialect": "opnai"},
        [".dialect: 'opnai' is not known; expected openai or anthropic; did you mean openai?"],
    ),
    (
        {"load_balancing": ""},
        [".load_balancing: is empty; expected least_request, round_robin, peak_ewma or consistent_hash"],
    ),
    (
        {"hash_on": {"header": "a b"}, "load_balancing": "consistent_hash"},
        [".hash_on.header: 'a b' is no name of a header field; expected letters, digits and hyphens"],
    ),
    (
        {"endpoints": ["10.0.0.1:80"], "weights": {"10.0.0.1": 2, "10.0.0.2:80": 1, "10.0.0.1:80": 0}},
        [
            ".weights[10.0.0.1:80]: is 0; expected a number from 1 to 1000",
            ".weights[10.0.0.1]: '10.0.0.1' has no port; expected unix:/path or host:port",
            ".weights[10.0.0.2:80]: '10.0.0.2:80' is no endpoint of the service; did you mean 10.0.0.1:80?",
        ],
    ),
    (
        {"rate_limit": [{"per": "60s"}, {"tokens": 5, "by": ["modle", "header:", "header:a b"]}]},
        [
            ".rate_limit[0]: limits nothing; expected requests, tokens or both",
            ".rate_limit[1].by[0]: 'modle' is not known; expected model, api_key, uid or header:NAME",
            ".rate_limit[1].by[1]: 'header:' is not known; expected model, api_key, uid or header:NAME",
            ".rate_limit[1].by[2]: 'a b' is no name of a header field; expected letters, digits and hyphens",
        ],
    ),
    (
        {"rate_limit": [{"requests": 1, "by": ["uid"]}]},
        [".rate_limit[0].by[0]: 'uid' belongs into the rate_limit of a route; expected model"],
    ),
    (
        {"credential": {"bearer": {"env": "A"}}, "credentials": [{"bearer": {"env": "B"}}]},
        [".credentials: is written beside credential; expected only one of them"],
    ),
    (
        {
            "credentials": [
                {"bearer": {"env": "A"}},
                {"header": {"name": "x-api-key", "value": {"env": "B"}}},
                {},
            ]
        },
        [
            ".credentials[1]: is sent in another header field than the first; expected the same",
            ".credentials[2]: is empty; expected bearer or header",
        ],
    ),
    (
        {"active_health": {"request": {"body": "[]", "path": "chat"}, "path": "/health"}},
        [
            ".active_health.request.path: 'chat' is no path; expected a path that starts with /, without spaces",
            ".active_health.request.body: is no JSON object",
            ".active_health.request: is written beside path; expected only one of them",
        ],
    ),
    (
        {"active_health": {"request": {}}},
        [".active_health.request: names no model and the service has none; expected model or body"],
    ),
    (
        {"timeouts": {"first_packet": "0.2s", "first_packet_soft": "0.3s"}},
        [".timeouts.first_packet_soft: is 300ms, and first_packet is 200ms; expected it to be shorter"],
    ),
    (
        {"first_packet_is": "byte"},
        [".first_packet_is: 'byte' is not known; expected content, event, body or headers"],
    ),
    ({"model": "m", "models": {"a": "b"}}, [".models: is written beside model; expected only one of them"]),
    ({"models": {"a": ""}}, [".models[a]: is empty; expected the names of two models, from: to"]),
    ({"credential": {}}, [".credential: is empty; expected bearer or header"]),
    ({"credential": {"bearer": {}}}, [".credential.bearer: is empty; expected {env: NAME} or {file: PATH}"]),
    (
        {"credential": {"bearer": {"env": "sk-123"}}},
        [".credential.bearer.env: is no name of an environment variable; expected one such as API_KEY"],
    ),
    (
        {"credential": {"bearer": {"literal": HIDDEN}}},
        [".credential.bearer: is the mark of a hidden secret; expected {env: NAME} or {file: PATH}"],
    ),
    (
        {"credential": {"header": {"name": "Host"}}},
        [
            ".credential.header.value: is missing or empty; expected {env: NAME} or {file: PATH}",
            ".credential.header.name: 'Host' is set by the sidecar itself; expected another header field",
        ],
    ),
    (
        {"headers": {"set": {"Content-Length": "1", "x y": "1", "X-Sidecar-Service": "1", "a": "b\r\nc"}}},
        [
            ".headers.set[a]: has a control character; expected a header field, name: value",
            *(
                f".headers.set[{name}]: '{name}' is set by the sidecar itself; expected another header field"
                for name in ("Content-Length", "X-Sidecar-Service")
            ),
            ".headers.set[x y]: 'x y' is no name of a header field; expected letters, digits and hyphens",
            ".headers.set[a]: is no value of a header field; expected printable ASCII without space at its ends",
        ],
    ),
    (
        {"headers": {"set": {"X-A": "1", "x-a": "2"}}},
        [".headers.set[x-a]: is the same header field as X-A; expected it once"],
    ),
    (
        {"headers": {"set": {"Authorization": "x"}}, "credential": {"bearer": {"env": "KEY"}}},
        [".headers.set[Authorization]: is set by credential too; expected only one of them"],
    ),
    (
        {"headers": {"remove": ["connection"]}},
        [".headers.remove[0]: 'connection' is set by the sidecar itself; expected another header field"],
    ),
    (
        {"tls": {"client_cert_file": "c"}, "url": "https://x"},
        [".tls.client_cert_file: is written without client_key_file; expected both or none"],
    ),
    (
        {"timeouts": {"first_packet": "0s"}},
        [".timeouts.first_packet: is 0s; expected a duration from 1ms to 1h"],
    ),
    ({"timeouts": {"total": "86401s"}}, [".timeouts.total: is 86401s; expected a duration from 1ms to 24h"]),
    (
        {"passive_health": {"failure_percentage_threshold": 101, "minimum_requests": 0}},
        [
            ".passive_health.failure_percentage_threshold: is 101%; expected a number from 0% to 100%",
            ".passive_health.minimum_requests: is 0; expected a number from 1 to 1000000",
        ],
    ),
    (
        {"passive_health": {"base_ejection_time": "600s"}},
        [
            ".passive_health.base_ejection_time: makes base_ejection_time (10m) longer than max_ejection_time (5m);"
            " expected it to be at most as long"
        ],
    ),
    (
        {"passive_health": {"max_ejection_time": "10s"}},
        [
            ".passive_health.max_ejection_time: makes base_ejection_time (30s) longer than max_ejection_time (10s);"
            " expected it to be at most as long"
        ],
    ),
    (
        {"active_health": {"path": "health", "expected_statuses": ["200-100", "2xx", "204"]}},
        [
            ".active_health.path: 'health' is no path; expected a path that starts with /, without spaces",
            *(
                f".active_health.expected_statuses[{place}]: '{text}' is no status; expected a status such as 200"
                " or a range such as 200-299"
                for place, text in enumerate(("200-100", "2xx"))
            ),
        ],
    ),
]

# A route like this, in place of the only one -> the problems of `policy.routes[0]`.
ROUTES: list[tuple[Mistake, list[str]]] = [
    ({"services": ["ab"]}, [".services[0]: 'ab' is no service; did you mean a?"]),
    ({"services": ["zzz"]}, [".services[0]: 'zzz' is no service; expected one of a"]),
    (
        {"services": ["a", "a"]},
        [".services[1]: is the same as policy.routes[0].services[0]; expected every service once"],
    ),
    (
        {"fallback_on": ["5x", "4xx", "600", "429", "404", "unhealthy", "zzzz"]},
        [
            ".fallback_on[0]: '5x' is not known; did you mean 5xx?",
            ".fallback_on[1]: '4xx' is not known; did you mean 5xx?",
            *(
                f".fallback_on[{place}]: '{word}' is not known; expected a word such as 5xx, first_packet_timeout"
                " or content_filter, or a status such as 404"
                for place, word in ((2, "600"), (6, "zzzz"))
            ),
        ],
    ),
    (
        {"match": {"path_prefix": "v1"}},
        [".match.path_prefix: 'v1' is no path; expected a path that starts with /, without spaces"],
    ),
    (
        {"match": {"path_prefix": "/v1?x"}},
        [".match.path_prefix: '/v1?x' is no path; expected a path that starts with /, without spaces"],
    ),
    (
        {"match": {"models": ["gpt-[4", ""]}},
        [
            ".match.models[1]: is empty; expected a glob such as gpt-*",
            ".match.models[0]: 'gpt-[4' has a bracket without its pair; expected a glob such as gpt-* or gpt-[34]*",
        ],
    ),
    (
        {"match": {"headers": {"a b": "x", "c": " x"}}},
        [
            ".match.headers[a b]: 'a b' is no name of a header field; expected letters, digits and hyphens",
            ".match.headers[c]: is no value of a header field; expected printable ASCII without space at its ends",
        ],
    ),
    ({"max_attempts": 0}, [".max_attempts: is 0; expected a number from 1 to 100"]),
    ({"deadline": "0s"}, [".deadline: is 0s; expected a duration from 1ms to 24h"]),
    (
        {"retry_budget": {"budget_percent": 150}},
        [".retry_budget.budget_percent: is 150%; expected a number from 0% to 100%"],
    ),
    ({"hedge": {}}, [".hedge.after: is missing or empty; expected a duration from 1ms to 1h"]),
    ({"rate_limit": [{}]}, [".rate_limit[0]: limits nothing; expected requests, tokens or both"]),
    ({"commit": "never"}, [".commit: 'never' is not known; expected first_packet or complete"]),
]

CASES = [
    *(
        (f"policy.services[0]{mistakes[0]}", {"services": [mistake]}, "services", mistakes)
        for mistake, mistakes in SERVICES
    ),
    *(
        (f"policy.routes[0]{mistakes[0]}", {"routes": [mistake]}, "routes", mistakes)
        for mistake, mistakes in ROUTES
    ),
]


def policy_with(mistake: Mistake) -> dict[str, Any]:
    policy: dict[str, Any] = yaml.safe_load(MINIMAL)["policy"]
    for key, items in mistake.items():
        policy[key][0].update(items[0])
    if policy["services"][0]["name"] != "a":
        policy["routes"] = [{"services": ["a"]}]
    return policy


@pytest.mark.parametrize(
    ("mistake", "key", "mistakes"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_file_and_admin_api_tell_the_same_mistakes_in_the_same_words(
    mistake: Mistake, key: str, mistakes: list[str]
) -> None:
    """There is one schema and one set of checks; only the file adds lines."""
    policy = policy_with(mistake)
    by_message = {(p.field, p.description) for p in check_policy(ParseDict(policy, Policy())).problems}
    by_file = {(p.field, p.description) for p in load_policy(yaml.safe_dump(policy).encode()).problems}
    if HIDDEN not in str(mistake):  # a file on its way to a sidecar that knows the secret may bear the mark
        assert by_file == by_message
    expected = {f"policy.{key}[0]{line}" for line in mistakes}
    found = {f"{field}: {description}" for field, description in by_message}
    if mistake.get("services", [{}])[0].get("name") == "":
        found = {line for line in found if not line.startswith("policy.routes")}
    assert found == expected


@pytest.mark.parametrize("text", [MINIMAL, FULL], ids=["minimal", "full"])
def test_good_configs_have_no_problem_and_no_warning(text: str) -> None:
    loaded = load(text.encode())
    assert (loaded.problems, loaded.warnings) == ((), ())


def invalid_duration(service: Service) -> None:
    service.timeouts.idle.nanos = 2_000_000_000


def negative_duration(service: Service) -> None:
    service.timeouts.idle.seconds = -1


def jitter(value: float) -> Callable[[Service], None]:
    def change(service: Service) -> None:
        service.passive_health.ejection_jitter = value

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            invalid_duration,
            ".timeouts.idle: is no valid google.protobuf.Duration; expected a duration from 1ms to 1h",
        ),
        (negative_duration, ".timeouts.idle: is -1s; expected a duration from 1ms to 1h"),
        (jitter(float("nan")), ".passive_health.ejection_jitter: is nan%; expected a number from 0% to 100%"),
        (jitter(float("inf")), ".passive_health.ejection_jitter: is inf%; expected a number from 0% to 100%"),
        (jitter(-0.5), ".passive_health.ejection_jitter: is -0.5%; expected a number from 0% to 100%"),
    ],
)
def test_what_only_a_message_can_hold_is_refused_too(
    change: Callable[[Service], None], expected: str
) -> None:
    policy = load_policy(MINIMAL.encode()).policy
    change(policy.services[0])
    assert [str(problem) for problem in check_policy(policy).problems] == [f"policy.services[0]{expected}"]


def test_every_path_starts_with_the_root_asked_for() -> None:
    problems = check_policy(Policy(services=[Service()]), root="revisions[3].policy").problems
    assert all(problem.field.startswith("revisions[3].policy.") for problem in problems)
    assert len(problems) == 3


def test_names_are_unique() -> None:
    policy = load_policy(MINIMAL.encode()).policy
    policy.services.add(name="a", url="http://b")
    assert [str(problem) for problem in check_policy(policy).problems] == [
        "policy.services[1].name: is the name of policy.services[0] too; expected every name once"
    ]


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"services": [{"name": "b", "url": "http://b"}]}, "policy.services[1]: is named by no route"),
        ({"routes": [{"services": ["a"]}]}, "policy.routes[1]: is never used: policy.routes[0] matches"),
        (
            {"routes": [{"services": ["a"], "match": {"path_prefix": "/v1/chat", "models": ["x"]}}]},
            "policy.routes[1]: is never used",
        ),
        (
            {"routes": [{"services": ["a"], "match": {"path_prefix": "/v1/", "headers": {"x": "y"}}}]},
            "policy.routes[1]: is never used",
        ),
    ],
)
def test_what_has_no_effect_is_a_warning(extra: dict[str, Any], expected: str) -> None:
    policy = load_policy(MINIMAL.encode()).policy
    policy.MergeFrom(ParseDict(extra, Policy()))
    checked = check_policy(policy)
    assert checked.problems == ()
    assert len(checked.warnings) == 1
    assert str(checked.warnings[0]).startswith(expected)


@pytest.mark.parametrize(
    ("service", "route", "expected"),
    [
        (
            {"timeouts": {"first_packet": "0.2s"}},
            {"hedge": {"after": "0.2s"}},
            [
                "policy.routes[0].hedge.after: has no effect: it is not shorter than first_packet of any service"
            ],
        ),
        ({"timeouts": {"first_packet": "0.2s"}}, {"hedge": {"after": "0.199s"}}, []),
        ({}, {"hedge": {"after": "30s"}}, ["policy.routes[0].hedge.after"]),
        (
            {"queue": {}},
            {},
            ["policy.services[0].queue: has no effect: the service has neither max_concurrency"],
        ),
        ({"queue": {}, "adaptive_concurrency": {"enabled": False}}, {}, ["policy.services[0].queue"]),
        ({"queue": {}, "adaptive_concurrency": {"enabled": True}}, {}, []),
        ({"queue": {}, "max_concurrency": 1}, {}, []),
    ],
)
def test_what_can_never_come_to_pass_is_a_warning(
    service: dict[str, Any], route: dict[str, Any], expected: list[str]
) -> None:
    """It was written for something, and whoever wrote it waits for that in vain."""
    written = {
        "services": [{"name": "a", "url": "http://a", **service}],
        "routes": [{"services": ["a"], **route}],
    }
    checked = check_policy(ParseDict(written, Policy()))
    assert checked.problems == ()
    assert [
        str(one)[: len(wanted)] for one, wanted in zip(checked.warnings, expected, strict=True)
    ] == expected


def test_a_queue_before_a_service_that_some_route_may_leave_has_a_limit() -> None:
    """That of adaptive concurrency, which is on by itself there."""
    written = {
        "services": [{"name": "a", "url": "http://a", "queue": {}}, {"name": "b", "url": "http://b"}],
        "routes": [{"services": ["a", "b"], "hedge": {"after": "1s"}}],
    }
    assert check_policy(ParseDict(written, Policy())).warnings == ()


def test_a_weight_names_an_endpoint_however_both_are_written() -> None:
    """They are compared by the address that they stand for."""
    written = {"name": "a", "url": "http://a", "endpoints": ["10.0.0.1:080"], "weights": {"10.0.0.1:80": 2}}
    policy = ParseDict({"services": [written], "routes": [{"services": ["a"]}]}, Policy())
    assert check_policy(policy).problems == ()


def test_a_route_that_takes_less_or_other_requests_is_used() -> None:
    routes = [
        {"services": ["a"], "match": {"models": ["gpt-*"]}},
        {"services": ["a"], "match": {"headers": {"x-tier": "gold"}}},
        {"services": ["a"]},
        {"services": ["a"], "match": {"path_prefix": "/v10"}},
        {"services": ["a"], "match": {"path_prefix": "/"}},
    ]
    policy = ParseDict({"services": [{"name": "a", "url": "http://a"}], "routes": routes}, Policy())
    assert check_policy(policy).warnings == ()


def test_secrets_that_anybody_may_read_are_warned_about() -> None:
    policy = load_policy(MINIMAL.encode()).policy
    policy.services[0].credential.bearer.literal = "sk-1"
    policy.services[0].headers.set["api-key"] = "sk-2"
    policy.services[0].tls.insecure_skip_verify = True
    checked = check_policy(policy)
    assert checked.problems == ()
    assert [warning.field.removeprefix("policy.services[0].") for warning in checked.warnings] == [
        "credential.bearer",
        "headers.set[api-key]",
        "tls.insecure_skip_verify",
        "tls",
    ]
    assert "sk-" not in str(checked)


def test_more_items_than_can_be_compared_are_refused_at_once() -> None:
    """A policy of 4 MiB over gRPC must not hold the loop for minutes."""
    policy = Policy(services=[Service()] * 1001)
    assert [str(problem) for problem in check_policy(policy).problems] == [
        "policy.services: has 1001 items; expected at most 1000",
        "policy.routes: is missing or empty; expected at least one route",
    ]


def config_problems(text: str) -> list[str]:
    return [str(problem) for problem in load((text + "\n" + MINIMAL).encode()).problems]


REMOTE = "is reachable from other machines; expected"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "listen: ['0.0.0.0:8800']",
            [
                f"listen[0]: '0.0.0.0:8800' {REMOTE} a loopback address, a Unix socket, or allow_remote: true beside it"
            ],
        ),
        ("listen: ['0.0.0.0:8800']\nallow_remote: true", []),
        (
            "ops: {listen: ['10.1.2.3:8802']}",
            [
                f"ops.listen[0]: '10.1.2.3:8802' {REMOTE} a loopback address, a Unix socket, or allow_remote: true"
                " beside it"
            ],
        ),
        ("ops: {listen: ['10.1.2.3:8802'], allow_remote: true}", []),
        (
            "admin: {listen: ['[2001:db8::1]:1'], allow_remote: true}",
            [f"admin.listen[0]: '[2001:db8::1]:1' {REMOTE} admin.tls beside it"],
        ),
        (
            "admin: {listen: ['10.0.0.1:1'], allow_remote: true, tls: {cert_file: a, key_file: b, client_ca_file: c}}",
            [],
        ),
        (
            "admin: {tls: {cert_file: a}}",
            [
                f"admin.tls.{name}: is missing or empty; expected the path of a PEM file"
                for name in ("key_file", "client_ca_file")
            ],
        ),
        ("listen: ['nowhere']", ["listen[0]: 'nowhere' has no port; expected unix:/path or host:port"]),
        (
            "listen: ['127.0.0.1:1', 'localhost:1']",
            ["listen[1]: is the same address as listen[0]; expected every address once"],
        ),
        (
            "listen: ['127.0.0.1:8801']",
            ["listen[0]: is the same address as admin.listen[1]; expected every address once"],
        ),
        (
            "ops: {listen: ['unix:/run/llm-sidecar/llm.sock']}",
            ["ops.listen[0]: is the same address as listen[0]; expected every address once"],
        ),
        (
            "allow_remote: true\nlisten: ['0.0.0.0:8802']",
            ["listen[0]: is the same address as ops.listen[0]; expected every address once"],
        ),
        ("listen: ['127.0.0.1:0', '127.0.0.1:0']\nadmin: {listen: ['127.0.0.1:0']}", []),
        ("listen: ['127.0.0.1:8801']\nadmin: {enabled: false}", []),
        (
            "socket_mode: '0999'",
            ["socket_mode: '0999' is no file mode; expected three octal digits such as 0660"],
        ),
        ("socket_mode: 0o600", []),
        (
            "hosts: ['llm.local', '::1', '[::1]', 'a:80', 'http://x']",
            [
                f"hosts[{place}]: '{host}' is no host; expected a host name or an IP address, without a port"
                for place, host in ((3, "a:80"), (4, "http://x"))
            ],
        ),
        (
            "allowed_origins: ['https://app.example', 'http://127.0.0.1:3000', '*', 'https://x/']",
            [
                f"allowed_origins[{place}]: '{origin}' is no origin; expected scheme://host or scheme://host:port,"
                " without a path"
                for place, origin in ((2, "*"), (3, "https://x/"))
            ],
        ),
        (
            "telemetry: {otlp_endpoint: '127.0.0.1:4317', sample_ratio: 2}",
            [
                "telemetry.sample_ratio: is 2; expected a number from 0 to 1",
                "telemetry.otlp_endpoint: '127.0.0.1:4317' does not start with http:// or https://; expected an"
                " address such as http://127.0.0.1:4317",
            ],
        ),
        ("drain_timeout: 2h", ["drain_timeout: is 2h; expected a duration from 0s to 1h"]),
    ],
)
def test_the_rest_of_a_config_is_checked_too(text: str, expected: list[str]) -> None:
    assert config_problems(text) == expected


def test_a_config_without_a_policy_is_refused() -> None:
    assert [str(problem) for problem in check_config(Config()).problems] == [
        "policy: is missing or empty; expected a mapping with services and routes"
    ]


def test_secrets_are_found_with_their_paths() -> None:
    policy = load_policy(FULL.encode()).policy
    policy.services[0].credential.header.value.file = "/key"
    assert [(path, secret.env or secret.file) for path, secret in secrets_of(policy, "p")] == [
        ("p.services[0].credential.header.value", "/key"),
        ("p.services[1].credential.bearer", "DASHSCOPE_API_KEY"),
    ]
