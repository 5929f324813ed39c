"""YAML into messages: the type of the field decides, every mistake of form is told with its line."""

from __future__ import annotations

import pytest
from llmsidecar.v1.config_pb2 import Config
from llmsidecar.v1.policy_pb2 import Policy

from sidecar.policy.units import nanoseconds_of
from sidecar.policy.yaml_file import read_file


def told(text: str) -> list[str]:
    return [f"{problem.line}: {problem}" for problem in read_file(text.encode(), Config()).problems]


def read(text: str) -> Config:
    config = Config()
    assert read_file(text.encode(), config).problems == []
    return config


@pytest.mark.parametrize("mode", ["0660", '"0660"', "'0660'"])
def test_quotes_make_no_difference(mode: str) -> None:
    """YAML 1.1 reads 0660 as 432: the text is what counts."""
    assert read(f"socket_mode: {mode}").socket_mode == "0660"


@pytest.mark.parametrize(
    "word", ["on", "yes", "off", "no", "123", "1.0", "true", "2024-01-01", "0x10", '"null"']
)
def test_a_text_field_takes_the_text_of_any_scalar(word: str) -> None:
    assert read(f"policy: {{services: [{{model: {word}}}]}}").policy.services[0].model == word.strip('"')


@pytest.mark.parametrize("word", ["on", "yes", "off", "no", "True", "1", "y"])
def test_only_true_and_false_are_booleans(word: str) -> None:
    assert told(f"allow_remote: {word}") == [
        f"1: allow_remote: '{word}' is no yes or no; expected true or false"
    ]


def test_durations_sizes_and_percentages_are_read_by_their_fields() -> None:
    config = read(
        """
drain_timeout: 0.2s
limits: {max_header: 32KiB, max_connections: 10}
telemetry: {sample_ratio: 0.5, access_log: false}
policy:
  services: [{passive_health: {ejection_jitter: 2.5 %, max_ejection_percent: 50%}}]
  routes: [{retry_budget: {budget_percent: 30}, fallback_on: [429, 5xx]}]
"""
    )
    assert nanoseconds_of(config.drain_timeout) == 200_000_000
    assert (config.limits.max_header, config.limits.max_connections) == (32768, 10)
    assert (config.telemetry.sample_ratio, config.telemetry.access_log) == (0.5, False)
    passive = config.policy.services[0].passive_health
    assert (passive.ejection_jitter, passive.max_ejection_percent) == (2.5, 50)
    assert config.policy.routes[0].retry_budget.budget_percent == 30
    assert list(config.policy.routes[0].fallback_on) == ["429", "5xx"]


def test_a_secret_is_a_reference_or_a_bare_literal() -> None:
    config = read(
        "policy: {services: [{credential: {bearer: {env: KEY}}}, {credential: {bearer: sk-1}},"
        " {credential: {header: {name: api-key, value: {file: /key}}}}]}"
    )
    first, second, third = (service.credential for service in config.policy.services)
    assert first.bearer.env == "KEY"
    assert second.bearer.literal == "sk-1"
    assert third.header.value.file == "/key"


def test_an_empty_mapping_is_written() -> None:
    """`active_health: {}` turns the checks on with their defaults."""
    assert read("policy: {services: [{active_health: {}}]}").policy.services[0].HasField("active_health")


def test_aliases_stand_for_what_they_name() -> None:
    config = read("policy: {services: [{timeouts: &t {idle: 3s}}, {timeouts: *t}]}")
    assert [nanoseconds_of(service.timeouts.idle) for service in config.policy.services] == [3 * 10**9] * 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- 1", ["1: is a list; expected a mapping with keys such as listen, allow_remote, admin"]),
        ("hello", ["1: is a single value; expected a mapping with keys such as listen, allow_remote, admin"]),
        ("listne: []", ["1: listne: is no known key; did you mean listen?"]),
        (
            "policy: {zzz: 1}",
            ["1: policy.zzz: is no known key; expected one of services, routes"],
        ),
        (
            "admin:\n  tls: {<<: 1}",
            ["2: admin.tls.<<: is no known key; expected one of cert_file, key_file, client_ca_file"],
        ),
        (
            "listen:\n  - a: 1\n  - [x]\n  -\n",
            [
                "2: listen[0]: is a mapping; expected unix:/path or host:port",
                "3: listen[1]: is a list; expected unix:/path or host:port",
                "4: listen[2]: has no value; expected unix:/path or host:port",
            ],
        ),
        ("listen: 127.0.0.1:1", ["1: listen: is a single value; expected a list"]),
        ("listen: []", ["1: listen: is an empty list; expected at least one item, or no such key at all"]),
        ("listen:", ["1: listen: has no value; expected a value, or no such key at all"]),
        ("state_dir: ~", ["1: state_dir: has no value; expected a value, or no such key at all"]),
        ("state_dir: [a]", ["1: state_dir: is a list; expected the path of a folder"]),
        (
            "state_dir: a\nhosts: [a]\nstate_dir: b",
            ["3: state_dir: is written a second time; expected once, as on line 1"],
        ),
        ("? [a]\n: 1", ["1: has a key that is a list; expected a name"]),
        (
            "policy: {services: [{models: [a]}]}",
            ["1: policy.services[0].models: is a list; expected a mapping;"],
        ),
        (
            "policy:\n  services:\n  - models:\n      a: b\n      a: c\n      d: [e]",
            [
                "5: policy.services[0].models[a]: is written a second time; expected once, as on line 4",
                "6: policy.services[0].models[d]: is a list; expected the names of two models, from: to",
            ],
        ),
        (
            "limits: {max_connections: -1, max_header: 99GiB}",
            ["1: limits.max_connections: is -1; expected a number from 1 to 1000000"],
        ),
        (
            "limits: {max_connections: 99999999999}",
            ["1: limits.max_connections: is 99999999999; expected a number from 1 to 1000000"],
        ),
        (
            "limits: {max_connections: many}",
            ["1: limits.max_connections: 'many' is no whole number; expected digits only"],
        ),
        (
            "telemetry: {sample_ratio: .NaN}",
            ["1: telemetry.sample_ratio: '.NaN' is no number; expected one such as 0.01"],
        ),
        (
            "policy: {services: [{credential: {bearer: {env: A}, header: {name: x}}}]}",
            ["1: policy.services[0].credential.header: is written beside bearer; expected only one of them"],
        ),
        (
            "policy: {services: [{credential: {bearer: {env: A, file: b}}}]}",
            [
                "1: policy.services[0].credential.bearer.file: is written beside env; expected only one of them"
            ],
        ),
        (
            "policy: {services: [{credential: {bearer: [a]}}]}",
            [
                "1: policy.services[0].credential.bearer: is a list; expected a mapping with env, file, literal"
            ],
        ),
    ],
)
def test_every_mistake_of_form_is_told_with_its_line(text: str, expected: list[str]) -> None:
    found = told(text)
    assert len(found) == len(expected), found
    assert all(line.startswith(start) for line, start in zip(found, expected, strict=True)), found


def test_a_secret_in_the_wrong_place_is_not_repeated() -> None:
    """Problems go to logs, and to whoever watches events."""
    found = told("policy: {services: [{credential: sk-hidden}, {tls: sk-hidden}, {endpoints: sk-hidden}]}")
    assert len(found) == 3
    assert not any("sk-hidden" in line for line in found)


def test_a_bad_item_keeps_the_places_of_its_neighbours() -> None:
    policy = Policy()
    result = read_file(b"services: [1, {name: b}]", policy, "policy", key="policy")
    assert [service.name for service in policy.services] == ["", "b"]
    assert result.unread == {"policy.services[0]"}


def test_an_alias_bomb_is_refused() -> None:
    """A list of services that is itself an alias would be copied into a thousand places."""
    endpoints = ", ".join(["h:1"] * 500)
    services = ", ".join(["*s"] * 500)
    text = f"policy: {{services: [&s {{endpoints: [{endpoints}]}}, {services}]}}"
    assert told(text) == ["1: holds over 100000 values; expected fewer"]


def test_nested_alias_bombs_are_never_unfolded() -> None:
    levels = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    found = told("\n".join(levels))
    assert len(found) == 60
    assert all("is no known key" in line for line in found)


def test_lines_lead_to_every_key_and_item() -> None:
    lines = read_file(
        b"listen:\n  - a\n  - b\npolicy:\n  services:\n    - name: x\n      url: y\n", Config()
    ).lines
    assert lines == {
        "": 1,
        "listen": 1,
        "listen[0]": 2,
        "listen[1]": 3,
        "policy": 4,
        "policy.services": 5,
        "policy.services[0]": 6,
        "policy.services[0].name": 6,
        "policy.services[0].url": 7,
    }
