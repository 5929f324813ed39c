"""The safe subset of YAML: what is outside of it is refused before anything is built."""

from __future__ import annotations

import pytest
import yaml

from sidecar.policy.problems import Problem
from sidecar.policy.yaml_nodes import MAX_BYTES, MAX_DEPTH, read_root


def refusal(data: bytes | str) -> str:
    root = read_root(data.encode() if isinstance(data, str) else data)
    assert isinstance(root, Problem), root
    return f"{root.line}: {root}"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("", "1: is empty; expected a mapping"),
        ("# nothing\n", "1: is empty; expected a mapping"),
        ("null", "1: is empty; expected a mapping"),
        ("a: 1\n---\nb: 2\n", "2: has a second document; expected one"),
        ("a: 1\nb: !!python/name:os.system x\n", "2: has the tag"),
        ("a: !custom 1\n", "1: has the tag '!custom'; expected plain values without tags"),
        ("a:\n  !!str b: 1\n", "2: has the tag 'tag:yaml.org,2002:str'; expected plain values without tags"),
        ("a: [1]\nb: !!set {x}\n", "2: has the tag"),
        ("a: 1\nb:\n\t- 1\n", "3: is no valid YAML: while scanning for the next token"),
        ("a: [1\nb: 2\n", "2: is no valid YAML"),
        ("a: 1\nb: *nobody\n", "2: is no valid YAML: found undefined alias"),
        ("a: b: c\n", "1: is no valid YAML: mapping values are not allowed"),
        ("a: 1\nb: x\x00y\n", "2: has the control character U+0000; expected text"),
        ("a: 1\nb: " + "[" * (MAX_DEPTH + 1), "2: is nested over 32 levels deep; expected fewer"),
        ("[" * 200_000, "1: is nested over 32 levels deep; expected fewer"),
        (b"a: 1\nb: \xff\n", "2: is no UTF-8 text; expected UTF-8"),
        ("a: 1".encode("utf-16"), "1: is no UTF-8 text; expected UTF-8"),
        (b"#" * (MAX_BYTES + 1), "1: is over 1 MiB; expected a file of at most 1 MiB"),
    ],
)
def test_what_is_outside_the_subset_is_refused_with_its_line(data: bytes | str, expected: str) -> None:
    assert refusal(data).startswith(expected)


def test_a_file_of_exactly_one_mebibyte_is_read() -> None:
    data = b"a: 1\n#".ljust(MAX_BYTES, b"x")
    assert isinstance(read_root(data), yaml.MappingNode)


def test_a_byte_order_mark_and_a_version_directive_are_fine() -> None:
    """Editors on other systems write the one, careful authors the other."""
    assert isinstance(read_root(b"\xef\xbb\xbfa: 1\n"), yaml.MappingNode)
    assert isinstance(read_root(b"%YAML 1.2\n---\na: 1\n"), yaml.MappingNode)


def test_a_node_that_contains_itself_is_read_without_end() -> None:
    """The walk along the schema ends by itself; reading must not try to unfold it."""
    assert isinstance(read_root(b"a: &a [*a]\n"), yaml.MappingNode)
