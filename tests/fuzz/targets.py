"""What is fuzzed: each target takes any bytes and raises for a finding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.fuzz.answers import answer
from tests.fuzz.bodies import chunked, request_body
from tests.fuzz.heads import request_head, response_head
from tests.fuzz.streams import sse, stream

HERE = Path(__file__).parent
SEEDS = HERE / "corpus"
CRASHERS = HERE / "crashers"

TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (request_head, response_head, chunked, request_body, sse, stream, answer)
}
