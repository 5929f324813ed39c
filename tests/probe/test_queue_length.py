"""What LLM servers say of their queues, and what becomes of it."""

from __future__ import annotations

import asyncio
import logging
import ssl
from functools import partial
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmsidecar.v1 import policy_pb2

from sidecar.frozen import replace
from sidecar.health.ledger import Ledger
from sidecar.health.limit import FRESH
from sidecar.policy.rules import field_of, rule_of
from sidecar.policy.snapshot import AdaptiveConcurrency, QueueMetrics, Service
from sidecar.policy.units import SECOND
from sidecar.probe.http import HttpProbe
from sidecar.probe.queue_length import JITTER, MOST, QueueReader, waiting_in
from tests.daemon.waiting import until
from tests.probe.peer import Peer, listening, run, service_at, snapshot

VLLM = b"""\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 8.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 3.0
vllm:num_requests_waiting{engine="1",model_name="m"} 4.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 9.0
"""
SGLANG = b"""\
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="m"} 12.0
sglang:num_queue_reqs{model_name="m"} 2.0
"""
LLAMA = b"""\
# HELP llamacpp:requests_deferred Number of requests deferred.
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 5
"""


def test_a_reading_is_believed_until_the_next_one_however_rarely_a_policy_may_ask() -> None:
    """Else nothing would be known for most of the time, and everything sent at once."""
    longest = rule_of(field_of(policy_pb2.QueueMetrics(), "interval")).maximum
    assert isinstance(longest, int)
    assert longest / SECOND * (1.0 + JITTER) < FRESH


@pytest.mark.parametrize(
    ("text", "waiting"),
    [
        (VLLM, 7),
        (SGLANG, 2),
        (LLAMA, 5),
        (b"vllm:num_requests_waiting 1e1 1732406400000\r\n", 10),
        (b"vllm:num_requests_waiting 0.0\n", 0),
        (b"process_cpu_seconds_total 7\n", None),
        (b"# vllm:num_requests_waiting 3\n", None),
        (b"vllm:num_requests_waiting NaN\n", None),
        (b"vllm:num_requests_waiting ..\n", None),
        (b"", None),
    ],
)
def test_the_words_of_each_server_are_read(text: bytes, waiting: int | None) -> None:
    assert waiting_in(text) == waiting


@given(st.binary(max_size=300))
def test_whatever_stands_there_is_no_exception(text: bytes) -> None:
    """A probe that dies leaves the limit blind, unseen."""
    waiting_in(b"vllm:num_requests_waiting " + text)


def no_tls(service: Service) -> ssl.SSLContext | None:
    return None


def no_credential(service: Service) -> tuple[str, str] | None:
    return None


def said(text: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text)


def of(peer: Peer) -> Service:
    metrics = QueueMetrics(interval=0.01)
    return replace(
        service_at(peer.address, check=None),
        adaptive_concurrency=AdaptiveConcurrency(queue_metrics=metrics),
    )


def test_an_endpoint_is_left_alone_while_its_queue_is_not_empty() -> None:
    """And serves again as soon as it says so."""

    async def story() -> None:
        async with listening(said(VLLM)) as peer:
            service, loop = of(peer), asyncio.get_running_loop()
            ledger = Ledger(Random(1))
            ledger.configure({service.name: service}, loop.time())
            fetch = partial(HttpProbe(no_tls, no_credential).get, most=MOST)
            reader = QueueReader(ledger, fetch, loop, Random(1))
            reader.apply(snapshot(service))
            (endpoint,) = ledger.endpoints(service.name)
            await until(lambda: endpoint.overloaded(loop.time()))
            assert peer.heads[0].startswith(b"GET /metrics HTTP/1.1\r\n")
            peer.answer = said(b"vllm:num_requests_waiting 0\n")
            await until(lambda: endpoint.available(loop.time()))
            await reader.stop()

    run(story)


@pytest.mark.parametrize(
    "answer",
    [said(b"up 1\n"), b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", b"", said(b"x" * (MOST + 1))],
    ids=["other_metrics", "404", "closed", "too_long"],
)
def test_without_an_answer_the_limit_goes_on_and_the_log_says_so_once(
    answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning every half second would bury everything else."""

    async def story() -> None:
        caplog.clear()
        async with listening(answer) as peer:
            service, loop = of(peer), asyncio.get_running_loop()
            ledger = Ledger(Random(1))
            ledger.configure({service.name: service}, loop.time())
            fetch = partial(HttpProbe(no_tls, no_credential).get, most=MOST)
            reader = QueueReader(ledger, fetch, loop, Random(1))
            reader.apply(snapshot(service))
            for said_now in (answer, said(b"vllm:num_requests_waiting 0\n"), answer):  # it may come and go
                peer.answer = said_now
                peer.heads.clear()
                await until(lambda: len(peer.heads) >= 3)
            await reader.stop()
            (endpoint,) = ledger.endpoints(service.name)
            assert endpoint.available(loop.time())
            assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 1

    run(story)
