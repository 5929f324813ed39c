"""Token counts of an answer that is no stream.

In:      the whole JSON body, as bytes.
Out:     (prompt tokens, completion tokens), None where the body does not say.
Why:     they stand at the end of the body in every dialect, so a look at its tail is enough; parsing a long answer
         would cost as much as relaying it. A number inside a string cannot match: its quotes would be escaped.
"""

from __future__ import annotations

import re

TAIL = 4096
_PROMPT = re.compile(rb'"(?:prompt_tokens|input_tokens)"\s*:\s*(\d{1,12})')
_COMPLETION = re.compile(rb'"(?:completion_tokens|output_tokens)"\s*:\s*(\d{1,12})')


def usage_of_answer(body: bytes) -> tuple[int | None, int | None]:
    """Reads `usage` of OpenAI's and Anthropic's answers."""
    tail = body[-TAIL:]
    start = tail.rfind(b'"usage"')
    if start < 0:
        return None, None
    return _number(_PROMPT, tail, start), _number(_COMPLETION, tail, start)


def _number(pattern: re.Pattern[bytes], text: bytes, start: int) -> int | None:
    found = pattern.search(text, start)
    return int(found[1]) if found else None
