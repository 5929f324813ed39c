"""Reads YAML into the protobuf messages by walking its nodes along their descriptors.

In:      the bytes of a config file, or of a file that holds a policy only.
Out:     a message, the line of every field that is written, and every problem of form: unknown or repeated keys,
         values of the wrong type. What the values mean is checked afterwards, by sidecar.policy.check.
Rule:    the type of the field decides how a scalar is read, so quotes make no difference: `0660` and `"0660"` are
         the same socket_mode, `on` is a text. Only a null without quotes is none.
Errors:  none are raised; a field with a problem stays unset, a list item with one is held by an empty item, so
         that the places of its neighbours stay right.
"""

from __future__ import annotations

from typing import Any

import yaml
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from sidecar.policy.problems import Problem, did_you_mean, join, line_of
from sidecar.policy.rules import Kind, Value, fields_of, read_scalar, rule_of
from sidecar.policy.units import BadValue, duration_of
from sidecar.policy.yaml_nodes import MAX_VALUES, is_null, line, read_root


class Read:
    """What the walk leaves beside the message it filled."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self.problems: list[Problem] = []
        self.unread: set[str] = set()  # written, but as something the field cannot hold


class _TooManyValues(Exception):
    """Aliases, or the file itself, hold more values than any config needs."""


def read_file(data: bytes, message: Message, path: str = "", key: str = "") -> Read:
    """Fills `message`, whose own path is `path`, from a file.

    With `key`, a root mapping that has that key stands for its value: a policy may be given bare or in a config.
    """
    read = Read()
    root = read_root(data)
    if isinstance(root, Problem):
        read.problems.append(root)
        read.unread.add("")
        return read
    read.lines[""] = line(root)
    if key and isinstance(root, yaml.MappingNode):
        root = next((value for name, value in root.value if name.value == key), root)
    try:
        _Walk(read).message(root, message, path)
    except _TooManyValues:
        read.problems.append(Problem("", f"holds over {MAX_VALUES} values; expected fewer", line(root)))
        read.unread.add("")
    return read


class _Walk:
    def __init__(self, read: Read) -> None:
        self.read = read
        self.values_left = MAX_VALUES

    def message(self, node: yaml.Node, message: Message, path: str) -> None:
        fields = fields_of(message)
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, path, _mapping_of(list(fields)))
            return
        for name, where, value in self._entries(node, path):
            if name not in fields:
                self._problem(where, f"is no known key{_expected_key(name, list(fields))}")
            elif other := _beside(message, fields[name]):
                self._problem(where, f"is written beside {other}; expected only one of them")
            else:
                self._field(value, message, fields[name], where)

    def _field(self, node: yaml.Node, message: Message, field: FieldDescriptor, path: str) -> None:
        rule = rule_of(field)
        if is_null(node):
            self._wrong(node, path, "a value, or no such key at all")
        elif rule.is_map:
            self._map(node, getattr(message, field.name), field, path)
        elif field.is_repeated:
            self._list(node, getattr(message, field.name), field, path)
        elif rule.kind is Kind.MESSAGE:
            child = getattr(message, field.name)
            child.SetInParent()  # an empty mapping counts: `active_health: {}` turns the checks on
            self.message(node, child, path)
        elif rule.kind is Kind.SECRET:
            self._secret(node, getattr(message, field.name), path)
        elif (value := self._scalar(node, field, path)) is not None:
            if rule.kind is Kind.DURATION and isinstance(value, int):
                getattr(message, field.name).CopyFrom(duration_of(value))
            else:
                self._assign(message, field, value, path)

    def _assign(self, message: Message, field: FieldDescriptor, value: Value, path: str) -> None:
        try:
            setattr(message, field.name, value)
        except ValueError:  # does not even fit the wire type, so no check of the message can see it
            self.read.unread.add(path)
            self._problem(path, rule_of(field).fault(value) or f"is {value}, which is out of range")

    def _secret(self, node: yaml.Node, secret: Message, path: str) -> None:
        secret.SetInParent()
        if isinstance(node, yaml.ScalarNode):
            self._spend()
            secret.literal = node.value  # type: ignore[attr-defined]
        else:
            self.message(node, secret, path)

    def _list(self, node: yaml.Node, items: Any, field: FieldDescriptor, path: str) -> None:
        if not isinstance(node, yaml.SequenceNode):
            self._wrong(node, path, "a list")
            return
        if not node.value:
            self.read.unread.add(path)
            self._problem(path, "is an empty list; expected at least one item, or no such key at all")
        for place, item in enumerate(node.value):
            self._spend()
            where = f"{path}[{place}]"
            self.read.lines[where] = line(item)
            if rule_of(field).kind is Kind.MESSAGE:
                self.message(item, items.add(), where)
            else:
                items.append(self._text(item, where, rule_of(field).expected) or "")

    def _map(self, node: yaml.Node, entries: Any, field: FieldDescriptor, path: str) -> None:
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, path, f"a mapping; {rule_of(field).expected}")
            return
        for name, where, item in self._entries(node, path, in_map=True):
            if (value := self._scalar(item, field, where)) is not None:
                try:
                    entries[name] = value
                except ValueError:  # as in _assign
                    self.read.unread.add(where)
                    self._problem(where, rule_of(field).fault(value) or f"is {value}, which is out of range")

    def _entries(
        self, node: yaml.MappingNode, path: str, *, in_map: bool = False
    ) -> list[tuple[str, str, yaml.Node]]:
        """Name, path and value of each key, its line noted; repeated keys and keys that are no names are told."""
        entries: list[tuple[str, str, yaml.Node]] = []
        seen: dict[str, int] = {}
        for key, value in node.value:
            self._spend()
            if not isinstance(key, yaml.ScalarNode):
                self._problem(path, f"has a key that {_given(key)}; expected a name", line(key))
                continue
            where = f"{path}[{key.value}]" if in_map else join(path, key.value)
            if key.value in seen:
                again = f"is written a second time; expected once, as on line {seen[key.value]}"
                self._problem(where, again, line(key))
                continue
            seen[key.value] = self.read.lines[where] = line(key)
            entries.append((key.value, where, value))
        return entries

    def _scalar(self, node: yaml.Node, field: FieldDescriptor, path: str) -> Value | None:
        text = self._text(node, path, rule_of(field).expected)
        if text is None:
            return None
        try:
            return read_scalar(field, text)
        except BadValue as error:
            self.read.unread.add(path)
            self._problem(path, str(error))
            return None

    def _text(self, node: yaml.Node, path: str, expected: str) -> str | None:
        self._spend()
        if isinstance(node, yaml.ScalarNode) and not is_null(node):
            return str(node.value)
        self._wrong(node, path, expected)
        return None

    def _spend(self) -> None:
        self.values_left -= 1
        if self.values_left < 0:
            raise _TooManyValues

    def _wrong(self, node: yaml.Node, path: str, expected: str) -> None:
        self.read.unread.add(path)
        self._problem(path, f"{_given(node)}; expected {expected}")

    def _problem(self, path: str, description: str, place: int = 0) -> None:
        self.read.problems.append(Problem(path, description, place or line_of(self.read.lines, path)))


def _given(node: yaml.Node) -> str:
    """What kind of thing was written; never its text, which may be a secret in the wrong place."""
    if is_null(node):
        return "has no value"
    if isinstance(node, yaml.ScalarNode):
        return "is a single value"
    return "is a list" if isinstance(node, yaml.SequenceNode) else "is a mapping"


def _mapping_of(names: list[str]) -> str:
    return f"a mapping with {'keys such as ' if len(names) > 3 else ''}{', '.join(names[:3])}"


def _expected_key(name: str, known: list[str]) -> str:
    return did_you_mean(name, known) or f"; expected one of {', '.join(known)}"


def _beside(message: Message, field: FieldDescriptor) -> str | None:
    """The other field of the same oneof that is already set."""
    group = field.containing_oneof
    if group is None or len(group.fields) == 1:  # an `optional` field is a oneof of its own
        return None
    other: str | None = message.WhichOneof(group.name)
    return other
