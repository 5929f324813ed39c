"""How many tokens a request counts for, before and after its answer."""

from __future__ import annotations

import pytest

from sidecar.exchange.tokens import of_prompt, used
from sidecar.record import RequestRecord


def test_a_prompt_is_estimated_by_its_bytes() -> None:
    assert (of_prompt(0), of_prompt(401)) == (0, 100)


@pytest.mark.parametrize(
    ("status", "prompt", "completion", "tokens"),
    [
        (200, 12, 30, 42),
        (200, None, None, 100 + 7),  # the service counts nothing: its bytes, and an event a token
        (200, 12, None, 12 + 7),
        (200, None, 30, 100 + 30),
        (200, 0, 0, 0),  # counted, and none
        (429, 12, 30, 0),
        (0, None, None, 0),  # nobody answered
    ],
)
def test_what_was_used_is_as_the_service_counted_it_or_estimated(
    status: int, prompt: int | None, completion: int | None, tokens: int
) -> None:
    record = RequestRecord(b"%032x" % 1, b"%016x" % 1, 0.0, 0)
    record.status, record.body_bytes = status, 401
    record.prompt_tokens, record.completion_tokens = prompt, completion
    assert used(record, 7) == tokens
