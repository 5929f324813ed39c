"""Token counts of an answer that is no stream.

In:      the whole JSON body, as bytes.
Out:     (prompt tokens, completion tokens), None where the body does not say.
Why:     they stand at the end of the body in every dialect, so a look at its tail is enough; parsing a long answer
         would cost as much as relaying it. A number inside a string cannot match: its quotes would be escaped.
"""

from __future__ import annotations

import re
from typing import Final

TAIL: Final = 4096
# As OpenAI's answers name them, and Anthropic's.
_COUNT: Final = re.compile(rb'"(prompt|input|completion|output)_tokens"\s*:\s*(\d{1,12})')


def usage_of_answer(body: bytes) -> tuple[int | None, int | None]:
    """Reads `usage` of OpenAI's and Anthropic's answers."""
    start = body.rfind(b'"usage"', -TAIL)
    if start < 0:
        return None, None
    counts: list[tuple[bytes, bytes]] = _COUNT.findall(body, start)
    prompt: int | None = None
    completion: int | None = None
    for name, count in counts:
        if name in (b"prompt", b"input"):
            if prompt is None:
                prompt = int(count)
        elif completion is None:
            completion = int(count)
    return prompt, completion
