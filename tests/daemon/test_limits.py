"""Every limit of the service's side is a field of the config, and holds."""

from __future__ import annotations

from typing import Any

import pytest

from .llm import CHAT, DONE, LAST, SSE_HEAD, Answer, Llm, chat_chunk, framed, json_answer, raw, stream
from .loop import run
from .sidecar import ask, chat, config, service, sidecar

BIG = 3000
COMMENT = framed(b": " + b"x" * BIG + b"\n\n")


@pytest.mark.parametrize(
    ("limits", "answer"),
    [
        ({"max_header": "1KiB"}, json_answer(CHAT, extra=f"x: {'y' * BIG}\r\n")),
        ({"max_event": "1KiB"}, raw(SSE_HEAD, framed(chat_chunk("x" * BIG)), framed(DONE), LAST)),
        ({"max_held": "1KiB"}, raw(SSE_HEAD, COMMENT, framed(chat_chunk("x")), framed(DONE), LAST)),
    ],
    ids=["max_header", "max_event", "max_held"],
)
@pytest.mark.parametrize("over", [True, False], ids=["over", "within"])
def test_what_is_over_a_limit_of_the_service_is_a_bad_response(
    limits: dict[str, Any], answer: Answer, over: bool
) -> None:
    async def test() -> None:
        async with Llm(answer) as first, Llm(stream("fine")) as second:
            chosen = limits if over else dict.fromkeys(limits, "64KiB")
            written = config(service("a", first, limits=chosen), service("b", second))
            async with sidecar(written) as daemon:
                reply = await ask(daemon, chat(stream=True))
                assert reply.fields["x-sidecar-service"] == ("b" if over else "a")

    run(test())


@pytest.mark.parametrize("commit", ["first_packet", "complete"])
def test_an_answer_longer_than_what_may_be_held_goes_on_and_arrives_whole(commit: str) -> None:
    async def test() -> None:
        body = b'{"choices": "' + b"x" * 200_000 + b'"}'
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        pieces = [body[i : i + 9000] for i in range(0, len(body), 9000)]
        async with Llm(raw(head, *pieces)) as llm:
            held = {"max_held": "20KiB", "max_held_complete": "20KiB"}
            async with sidecar(config(service("a", llm, limits=held), route={"commit": commit})) as daemon:
                reply = await ask(daemon, chat(stream=False))
                assert (reply.body, reply.ended) == (body, True)

    run(test())
