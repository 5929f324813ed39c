"""The safe subset of YAML 1.2 that a config may use: bytes to nodes that know their lines.

In:      the bytes of a file.
Out:     its root node, or problems; nothing is resolved to a Python value, scalars stay text.
Limits:  1 MiB; UTF-8; one document; no tags; 32 levels deep; 100 000 values once aliases are followed.
Errors:  none are raised; each refusal is a Problem with its line.

The events of the file are looked at before nodes are built from them: libyaml's composer recurses in C, so depth
has to be bounded first, and a node no longer tells a written tag from an implied one.
"""

from __future__ import annotations

import re

import yaml

from sidecar.policy.problems import Problem, quote

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_VALUES = 100_000

_Loader: type[yaml.SafeLoader] | type[yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# YAML 1.2, production 1 (c-printable).
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

NULLS = ("", "~", "null", "Null", "NULL")


def read_root(data: bytes) -> yaml.Node | Problem:
    """The root node of the only document, or the one problem that kept the file from being read at all."""
    text = _decode(data)
    if isinstance(text, Problem):
        return text
    try:
        if refused := _refuse(text):
            return refused
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        return _syntax_problem(error)
    except yaml.YAMLError as error:
        return Problem("", f"is no valid YAML: {error}", 1)
    if root is None or is_null(root):
        return Problem("", "is empty; expected a mapping", 1)
    return root


def is_null(node: yaml.Node) -> bool:
    """Whether nothing is given: no value, or a null without quotes."""
    return isinstance(node, yaml.ScalarNode) and not node.style and node.value in NULLS


def line(node: yaml.Node | yaml.Event) -> int:
    """Where it begins, counted from 1."""
    assert node.start_mark is not None  # a parser made it
    return int(node.start_mark.line) + 1


def _decode(data: bytes) -> str | Problem:
    if len(data) > MAX_BYTES:
        return Problem("", "is over 1 MiB; expected a file of at most 1 MiB", 1)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Problem("", "is no UTF-8 text; expected UTF-8", data.count(b"\n", 0, error.start) + 1)
    if found := _UNPRINTABLE.search(text):
        place = text.count("\n", 0, found.start()) + 1
        return Problem("", f"has the control character U+{ord(found[0]):04X}; expected text", place)
    return text


def _refuse(text: str) -> Problem | None:
    """The first thing in the file that is YAML but outside the subset."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        place = line(event)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                return Problem("", "has a second document; expected one", place)
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                return Problem("", f"is nested over {MAX_DEPTH} levels deep; expected fewer", place)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if (tag := getattr(event, "tag", None)) is not None:
            return Problem("", f"has the tag {quote(tag)}; expected plain values without tags", place)
    return None


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    said = ", ".join(filter(None, (error.context, error.problem)))
    return Problem("", f"is no valid YAML: {said}", mark.line + 1 if mark else 1)
