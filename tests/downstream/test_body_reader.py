"""The body of a request that comes in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.downstream.admission import Refused
from sidecar.downstream.body_reader import SMALL_PIECE, BodyReader
from tests.wire.splits import PLACES, bytewise, cut

MOST = 1000
BEHIND = st.sampled_from([b"", b"GET / HTTP/1.1\r\n", b"0\r\n\r\n"])


def read(reader: BodyReader, pieces: list[bytes]) -> bytes | Refused | None:
    """What it says in the end, and None until then; pieces behind that are not fed."""
    for piece in pieces:
        if (said := reader.feed(piece)) is not None:
            return said
    return None


def in_chunks(body: bytes, size: int) -> bytes:
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in chunks) + b"0\r\n\r\n"


@given(body=st.binary(max_size=300), behind=BEHIND, places=PLACES, size=st.integers(1, 100))
@pytest.mark.parametrize("chunked", [False, True])
def test_however_a_body_is_split_it_is_the_same(
    chunked: bool, body: bytes, behind: bytes, places: list[int], size: int
) -> None:
    """An empty read comes first where the head came alone; what follows the body is the next request's."""
    reader = BodyReader(None if chunked else len(body), MOST)
    sent = in_chunks(body, size) if chunked else body
    pieces = [b"", *cut(sent + behind, places)]
    taken = 0
    for piece in pieces:
        taken += len(piece)
        said = reader.feed(piece)
        assert (said is None) is (taken < len(sent))
        if said is not None:
            assert said == body
            assert reader.left_over == (sent + behind)[len(sent) : taken]
            break
    else:
        pytest.fail("it never was whole")


@pytest.mark.parametrize("size", [1, 7, MOST])
def test_a_chunked_body_may_be_as_large_as_the_limit(size: int) -> None:
    body = b"x" * MOST
    assert read(BodyReader(None, MOST), [*bytewise(in_chunks(body, size))]) == body


@pytest.mark.parametrize("size", [1, 7, MOST + 1])
def test_one_byte_more_is_refused_before_the_body_ends(size: int) -> None:
    """Or an app that never ends one would fill the memory."""
    unended = in_chunks(b"x" * (MOST + 1), size).removesuffix(b"0\r\n\r\n")
    said = read(BodyReader(None, MOST), [*bytewise(unended)])
    assert isinstance(said, Refused)
    assert (said.status, said.code) == (413, "body_too_large")


def test_malformed_chunks_are_refused_with_the_reason() -> None:
    said = BodyReader(None, MOST).feed(b"3\r\nabcd\r\n0\r\n\r\n")
    assert isinstance(said, Refused)
    assert (said.status, said.code) == (400, "bad_request")
    assert "longer than its size" in said.why


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_drips_in_costs_no_object_a_byte(chunked: bool) -> None:
    body = b"x" * (3 * SMALL_PIECE)
    reader = BodyReader(None if chunked else len(body), len(body))
    sent = in_chunks(body, 1) if chunked else body
    for piece in bytewise(sent[:-6]):
        assert reader.feed(piece) is None
        assert len(reader._pieces) <= 3
