"""Every limit of the service's side is a field of the config, and holds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .llm import CHAT, DONE, LAST, SSE_HEAD, Answer, Llm, chat_chunk, framed, json_answer, raw, stream
from .loop import run
from .sidecar import ask, chat, config, post, service, sidecar

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


@pytest.mark.parametrize("path", ["/v1/images/generations", "/v1/responses"])
def test_an_image_that_is_streamed_arrives(path: str) -> None:
    """One event of some MiB, and on a path of its own the first one that counts: no limit may take it for a fault."""
    image = {"type": "response.image_generation_call.partial_image", "partial_image_b64": "iVBO" * 700_000}
    events = [image, {"type": "response.completed", "response": {}}]
    if path == "/v1/responses":
        events.insert(0, {"type": "response.output_item.added", "item": {"type": "image_generation_call"}})
    sent = [b"data: %b\n\n" % json.dumps(event).encode() for event in events]

    async def test() -> None:
        answer = raw(SSE_HEAD, *map(framed, sent), LAST)
        async with Llm(answer) as llm, sidecar(config(service("a", llm))) as daemon:
            reply = await ask(daemon, post(path, b'{"model": "m", "stream": true}'))
            assert (reply.status, reply.ended) == (200, True)
            assert reply.body == b"".join(sent)

    run(test())


def long_answer() -> tuple[bytes, Answer]:
    body = b'{"choices": "' + b"x" * 200_000 + b'"}'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    return body, raw(head, *[body[i : i + 9000] for i in range(0, len(body), 9000)])


def test_an_answer_longer_than_what_is_held_goes_on_and_arrives_whole() -> None:
    async def test() -> None:
        body, answer = long_answer()
        held = {"max_held": "20KiB"}
        async with Llm(answer) as llm, sidecar(config(service("a", llm, limits=held))) as daemon:
            reply = await ask(daemon, chat(stream=False))
            assert (reply.body, reply.ended) == (body, True)

    run(test())


@pytest.mark.parametrize("streaming", [False, True])
def test_a_route_that_holds_whole_answers_back_refuses_one_that_is_too_long(streaming: bool) -> None:
    """To let it through would break the promise that a cut answer can still be rescued."""

    async def test() -> None:
        long_stream = stream(*["x" * 9000] * 20)
        async with Llm(long_stream if streaming else long_answer()[1]) as llm, Llm(stream("y")) as spare:
            first = service("a", llm, limits={"max_held_complete": "20KiB"})
            written = config(first, service("b", spare), route={"commit": "complete"})
            async with sidecar(written) as daemon:
                reply = await ask(daemon, chat(stream=streaming))
                assert (reply.status, reply.json["error"]["code"]) == (502, "answer_too_large")
                assert spare.received == []

    run(test())
