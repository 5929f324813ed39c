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
# As OpenAI's answers name them, and Anthropic's. Gateways write both: OpenAI's go first, as in a stream.
_COUNT: Final = re.compile(rb'"(prompt|input|completion|output)_tokens"\s*:\s*(\d{1,12})')


def usage_of_answer(body: bytes) -> tuple[int | None, int | None]:
    """Reads `usage` of OpenAI's and Anthropic's answers."""
    start = body.rfind(b'"usage"', -TAIL)
    if start < 0:
        return None, None
    counts: list[tuple[bytes, bytes]] = _COUNT.findall(body, start)
    # Not a dict of them, which costs 3 % of a request.
    prompt = completion = read = written = -1
    for name, count in counts:  # the first of a name: what follows may be details
        if name == b"prompt":
            if prompt < 0:
                prompt = int(count)
        elif name == b"completion":
            if completion < 0:
                completion = int(count)
        elif name == b"input":
            if read < 0:
                read = int(count)
        elif written < 0:
            written = int(count)
    prompt = read if prompt < 0 else prompt
    completion = written if completion < 0 else completion
    return None if prompt < 0 else prompt, None if completion < 0 else completion
