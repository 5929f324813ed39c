"""As much HTTP as a simulated service needs."""

from __future__ import annotations

import pytest

from sidecar.demo.http import MAX_HEAD, Refused, Request, answer, chunk, take

ONE = b"POST /v1/x?y=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"


def test_a_request_is_taken_when_its_last_byte_is_there() -> None:
    """And not before, wherever the bytes are split."""
    buffer = bytearray()
    for byte in ONE[:-1]:
        buffer.append(byte)
        assert take(buffer) is None
    buffer.append(ONE[-1])
    assert take(buffer) == Request("POST", "/v1/x", b"hi", keep_alive=True)
    assert buffer == b""


def test_the_next_request_stays_in_the_buffer() -> None:
    """It is taken when the first is answered."""
    buffer = bytearray(ONE + b"GET / HTTP/1.1\r\nConnection: Close\r\n\r\n")
    take(buffer)
    assert take(buffer) == Request("GET", "/", b"", keep_alive=False)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * MAX_HEAD, 431),
    ],
)
def test_what_is_not_understood_is_refused_with_its_status(head: bytes, status: int) -> None:
    """A simulated service that guesses would hide mistakes of the sidecar."""
    with pytest.raises(Refused) as refused:
        take(bytearray(head))
    assert refused.value.status == status


def test_an_answer_bears_its_length_and_whether_it_is_the_last() -> None:
    """So that the caller knows where it ends."""
    assert b"\r\ncontent-length: 2\r\n\r\n{}" in answer(200, b"{}")
    assert b"\r\nconnection: close\r\n\r\n" in answer(503, b"{}", keep_alive=False)


def test_nothing_makes_no_chunk() -> None:
    """An empty one would end the body."""
    assert (chunk(b"abc"), chunk(b"")) == (b"3\r\nabc\r\n", b"")
