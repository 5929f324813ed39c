"""Active checks by a real inference, a server that is loading, and who is asked at all."""

from __future__ import annotations

import asyncio
import json
import ssl
from random import Random

import pytest

from sidecar.failure import Verdict
from sidecar.health.ledger import Ledger
from sidecar.policy.snapshot import ActiveHealth, InferenceCheck, Service
from sidecar.probe.http import HttpProbe, ProbeFailed
from sidecar.probe.prober import Prober
from sidecar.terms import EndpointKey
from tests.daemon.llm import DONE, LAST, SSE_HEAD, chat_chunk, framed
from tests.daemon.waiting import until
from tests.probe.peer import listening, run, service_at, snapshot

BODY = json.dumps({"model": "m", "messages": [], "max_tokens": 16, "stream": True}).encode()
CHECK = ActiveHealth(request=InferenceCheck("/chat/completions", BODY))


def no_tls(service: Service) -> ssl.SSLContext | None:
    return None


def key_of(service: Service) -> tuple[str, str] | None:
    return "Authorization", "Bearer k"


PROBE = HttpProbe(no_tls, key_of)


def thought(text: str) -> bytes:
    delta = {"choices": [{"index": 0, "delta": {"reasoning_content": text}, "finish_reason": None}]}
    return framed(b"data: " + json.dumps(delta).encode() + b"\n\n")


ROLE = framed(chat_chunk(role=True))
WORD = framed(chat_chunk("ok"))
CUT_OFF = framed(chat_chunk(finish="length")) + framed(DONE) + LAST


def whole(status: str, body: object) -> bytes:
    text = json.dumps(body).encode()
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        status.encode(),
        len(text),
        text,
    )


@pytest.mark.parametrize(
    "answer",
    [
        SSE_HEAD + ROLE + WORD,
        SSE_HEAD + ROLE + thought("Well"),
        SSE_HEAD + ROLE + CUT_OFF,
        whole("200 OK", {"choices": [{"message": {"content": "ok"}}]}),
    ],
    ids=["a_word", "a_thought", "nothing_but_an_end", "no_stream"],
)
def test_an_answer_that_has_begun_or_is_complete_passes(answer: bytes) -> None:
    """A reasoning model thinks first, and may think for as long as it is allowed to."""

    async def story() -> None:
        async with listening(answer) as peer:
            assert await PROBE(service_at(peer.address, check=CHECK), peer.address) == 200
            head = peer.heads[0].decode()
            assert head.startswith("POST /v1/chat/completions HTTP/1.1\r\n")
            assert f"content-length: {len(BODY)}\r\n" in head
            assert "authorization: Bearer k\r\n" in head
            await asyncio.wait_for(peer.hung_up.wait(), 5)

    run(story)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (SSE_HEAD + ROLE + LAST, "empty_stream"),
        (
            SSE_HEAD + framed(b'data: {"error": {"message": "CUDA", "code": 500}}\n\n') + LAST,
            "in_stream_error",
        ),
        (whole("200 OK", {"error": {"message": "no"}}), "in_stream_error"),
        (b"HTTP/1.1 200", "reset"),
        (b"nonsense\r\n\r\n", "bad_response"),
    ],
)
def test_what_is_no_answer_fails_with_its_reason(answer: bytes, why: str) -> None:
    async def story() -> None:
        async with listening(answer) as peer:
            peer.ends = why == "reset"
            with pytest.raises(ProbeFailed, match=why):
                await PROBE(service_at(peer.address, check=CHECK), peer.address)

    run(story)


@pytest.mark.parametrize("status", ["401 No", "404 No", "500 No"])
def test_a_failing_status_is_handed_on(status: str) -> None:
    """Whether it passes is the policy's word."""

    async def story() -> None:
        async with listening(whole(status, {"error": {"message": "no"}})) as peer:
            assert await PROBE(service_at(peer.address, check=CHECK), peer.address) == int(status[:3])

    run(story)


LOADING = whole("503 Service Unavailable", {"error": {"code": 503, "message": "Loading model"}})


@pytest.mark.parametrize("check", [ActiveHealth(), CHECK], ids=["path", "inference"])
def test_a_server_that_is_loading_says_so(check: ActiveHealth) -> None:
    """llama.cpp's words; the endpoint is out with the first of them and back after `healthy_threshold`."""

    async def story() -> None:
        async with listening(LOADING) as peer:
            with pytest.raises(ProbeFailed, match=r"^loading$"):
                await PROBE(service_at(peer.address, check=check), peer.address)

    run(story)


def test_only_endpoints_that_need_it_are_asked() -> None:
    """An inference costs tokens; one that serves the app well needs none."""

    async def story() -> None:
        check = ActiveHealth(interval=0.01, only_when_unhealthy=True)
        async with listening() as good, listening() as ill:
            service = service_at(good.address, ill.address, check=check)
            ledger = Ledger(Random(1))
            loop = asyncio.get_running_loop()
            ledger.configure({service.name: service}, loop.time())
            prober = Prober(ledger, PROBE, lambda events: None, loop, Random(1))
            prober.apply(snapshot(service))
            sick = EndpointKey(service.name, str(ill.address))
            (endpoint,) = (e for e in ledger.endpoints(service.name) if e.key == sick)
            ledger.started(endpoint, loop.time())
            ledger.finished(endpoint, Verdict.FAILURE, loop.time())
            await asyncio.wait_for(ill.asked.wait(), 5)
            await until(lambda: len(ill.heads) >= 5)
            assert good.heads == []
            await prober.stop()

    run(story)
