"""The raw cases of tests/corpus as inputs of the fuzz targets.

Out:     bytes for each target that can make use of them.
Limits:  cases beyond LONGEST are left out: they are about limits, which whole-daemon tests reach better.
"""

from __future__ import annotations

from sidecar.wire.dialect import Shape
from sidecar.wire.heads import head_end
from tests.corpus.cases import read_cases
from tests.fuzz.answers import SETTINGS

LONGEST = 1024
_BY_SHAPE = {setting.shape: number for number, setting in reversed(list(enumerate(SETTINGS)))}


def borrowed() -> dict[str, list[bytes]]:
    requests = [data for case in read_cases("requests") if (data := case.sent(">"))]
    responses = [(_setting(case.fact("ask")), case.sent("<")) for case in read_cases("responses")]
    inputs = {
        "request_head": requests,
        "response_head": [data for _, data in responses],
        "chunked": [body for data in requests if (body := _body(data))],
        "answer": [number + data for number, data in responses],
        "stream": [number + body for number, data in responses if (body := _body(data))],
    }
    return {name: [data for data in found if len(data) <= LONGEST] for name, found in inputs.items()}


def _body(data: bytes) -> bytes:
    end = head_end(data)
    return data[end:] if end >= 0 else b""


def _setting(ask: str) -> bytes:
    """The byte that chooses the shape asked for; both targets count shapes in the same order."""
    shape = next((shape for shape in Shape if shape.value in ask), Shape.OTHER)
    return bytes([ord("0") + _BY_SHAPE[shape]])
