"""Token counts of an answer that is no stream.

In:      the whole JSON body, as bytes.
Out:     (prompt tokens, completion tokens), None where the body does not say.
Why:     they stand at the end of the body in every dialect, so a look at its tail is enough; parsing a long answer
         would cost as much as relaying it. A number inside a string cannot match: its quotes would be escaped.
"""

from __future__ import annotations

import re

TAIL = 4096
_PROMPT = (b'"prompt_tokens"', b'"input_tokens"')
_COMPLETION = (b'"completion_tokens"', b'"output_tokens"')
_VALUE = re.compile(rb"\s*:\s*(\d{1,12})")


def usage_of_answer(body: bytes) -> tuple[int | None, int | None]:
    """Reads `usage` of OpenAI's and Anthropic's answers."""
    tail = body[-TAIL:]
    start = tail.rfind(b'"usage"')
    if start < 0:
        return None, None
    return _number(_PROMPT, tail, start), _number(_COMPLETION, tail, start)


def _number(names: tuple[bytes, ...], text: bytes, start: int) -> int | None:
    for name in names:
        at = text.find(name, start)
        if at >= 0 and (found := _VALUE.match(text, at + len(name))) is not None:
            return int(found[1])
    return None
