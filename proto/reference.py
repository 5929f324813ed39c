"""Writes docs/configuration.md from the schema: `python proto/reference.py OUT`.

In:      the .proto files: names, comments and rules of every message a config file may hold.
Out:     one table a message, with type, default and bounds of each field.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from generate import SOURCES, run_protoc
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorSet

FILES = ("llmsidecar/v1/config.proto", "llmsidecar/v1/policy.proto")
NOT_CONFIG = ("Request", "Response", "Revision")
SCALARS = {
    FieldDescriptorProto.TYPE_STRING: "text",
    FieldDescriptorProto.TYPE_BOOL: "true or false",
    FieldDescriptorProto.TYPE_UINT32: "number",
    FieldDescriptorProto.TYPE_UINT64: "number",
    FieldDescriptorProto.TYPE_DOUBLE: "number",
}
UNITS = {1: "size", 2: "per cent"}
INTRO = """\
# Configuration

Every field of the config file; made from the schema by `make proto`. Under `policy`, the same names serve the admin
API. Durations are written `200ms`, `1s`, `1m30s`; sizes `64KiB`, `8MiB`; unknown keys are errors. `sidecar check FILE`
tells every problem with its line.
"""


def reference() -> str:
    """The whole page."""
    from llmsidecar.v1 import schema_pb2

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        run_protoc("--include_source_info", f"--descriptor_set_out={out}", *map(str, SOURCES))
        files = FileDescriptorSet.FromString(out.read_bytes())
    parts = [INTRO]
    for file in sorted((f for f in files.file if f.name in FILES), key=lambda f: FILES.index(f.name)):
        comments = {
            tuple(place.path): place.leading_comments.strip() for place in file.source_code_info.location
        }
        for number, message in enumerate(file.message_type):
            if not message.name.endswith(NOT_CONFIG):
                parts.append(_message(message, number, comments, schema_pb2.rule))
    return "\n".join(parts)


def _message(
    message: DescriptorProto, number: int, comments: dict[tuple[int, ...], str], extension: Any
) -> str:
    lines = [f"## {message.name}", ""]
    if said := comments.get((4, number)):
        lines += [_joined(said), ""]
    lines += ["| field | what it takes | default | |", "|---|---|---|---|"]
    for place, field in enumerate(message.field):
        rule = field.options.Extensions[extension]
        default = rule.default_value or ", ".join(rule.default_items)
        needed = "**required**" if rule.required else f"`{default}`" if default else ""
        about = _joined(comments.get((4, number, 2, place), ""))
        lines.append(f"| `{field.name}` | {_kind(message, field, rule)} | {needed} | {about} |")
    return "\n".join(lines) + "\n"


def _kind(message: DescriptorProto, field: FieldDescriptorProto, rule: Any) -> str:
    many = field.label == FieldDescriptorProto.LABEL_REPEATED
    if field.type == FieldDescriptorProto.TYPE_MESSAGE:
        name = field.type_name.rpartition(".")[2]
        entry = next((n for n in message.nested_type if n.name == name and n.options.map_entry), None)
        if entry is not None:
            return "map of text to text"
        kind = "duration" if name == "Duration" else f"[{name}](#{name.lower()})"
    else:
        kind = UNITS.get(rule.unit) or SCALARS[field.type]
    if rule.one_of:
        kind = ", ".join(f"`{word}`" for word in rule.one_of)
    if rule.minimum or rule.maximum:
        kind += f", {rule.minimum} to {rule.maximum}"
    return f"list of {kind}" if many else kind


def _joined(comment: str) -> str:
    return " ".join(comment.split()).replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
