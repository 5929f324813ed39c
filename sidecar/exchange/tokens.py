"""Tokens, as rate limits count them: estimated before an answer is there, counted when it is.

In:      the length of a request's body; the record of what was answered.
Out:     how many tokens that is.
Why:     a sidecar that counted for itself would need the tokenizer of every model.
"""

from __future__ import annotations

from typing import Final

from sidecar.record import RequestRecord

# What OpenAI's tokenizers make of English; of code it is less, of Chinese more. JSON around it is not told apart.
BYTES_PER_TOKEN: Final = 4


def of_prompt(body_bytes: int) -> int:
    """Estimated."""
    return body_bytes // BYTES_PER_TOKEN


def used(record: RequestRecord, events: int) -> int:
    """As the service counted them, else estimated: the prompt by its bytes, the answer by the `events` of its stream.

    A request that nobody answered used none."""
    if not 0 < record.status < 400:
        return 0
    prompt, completion = record.prompt_tokens, record.completion_tokens
    prompt = of_prompt(record.body_bytes) if prompt is None else prompt
    return prompt + (events if completion is None else completion)
