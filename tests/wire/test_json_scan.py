"""Whatever the walk tells of a text is what json.loads tells; and of an ordinary text it tells everything."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.json_scan import DEEPEST, LONGEST, MOST_MEMBERS, NOT_KNOWN, model_and_stream

RICH = rb"""{ "model" :"m\u00E9\n", "a":[1,-0.5e+3,{"b":null,"\u0062":[ ]},true,false,{ }], "stream":true,"n":10E5}
"""
ORDINARY = [
    b"{}",
    b" \t\r\n{ \t\r\n} \t\r\n",
    b'{"model":"m","stream":true}',
    b'{"stream":true,"model":"m","model":[1],"stream":false}',
    b'{"model":{"model":"x"},"stream":{"stream":true}}',
    b'{"x":[{"model":"x","stream":true}]}',
    b'{"mode":1,"modem":2,"models":3,"strea":4,"streak":true,"streams":true}',
    b'{"":"","n":[0,-0,0.0,1e5,1E+5,1e-5,12.50,-10]}',
    b'{"x":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00aF\\ud800"}',
    b'{"x":"\x7f","y":{"nested \\" key":{"\\u0061":1}}}',
    '{"名":"模型","model":"千问"}'.encode(),
    RICH,
]


def agrees_with_json(body: bytes) -> bool:
    """Whether it is known; then, that it is what json.loads says."""
    begin, end, stream = model_and_stream(body, 0)
    if begin == NOT_KNOWN:
        return False
    said = json.loads(body.decode())
    assert isinstance(said, dict)
    assert stream is (said.get("stream") is True)
    assert (begin > 0) is ("model" in said)
    if begin > 0:
        assert json.loads(body[begin:end]) == said["model"]
    return True


@pytest.mark.parametrize("body", ORDINARY)
def test_an_ordinary_text_is_known(body: bytes) -> None:
    assert agrees_with_json(body)
    begin, end, stream = model_and_stream(body, 0)
    shift = 7 if begin > 0 else 0
    assert model_and_stream(b"ignored" + body, 7) == (begin + shift, end + shift, stream)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'"model"',
        b'{"x":NaN}',
        b'{"x":Infinity}',
        b'{"x":-Infinity}',
        b'{"\\u006dodel":"m"}',
        b'{"a\\"b":1}',
        b'{"x":' + b"1" * (LONGEST + 1) + b"}",
        b'{"x":' + b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1) + b"}",
        b'{"x":' + b'{"x":' * DEEPEST + b"{}" + b"}" * DEEPEST + b"}",
        b"{" + b'"x":1,' * MOST_MEMBERS + b'"x":1}',
    ],
)
def test_what_a_parser_has_to_decide_is_not_known(body: bytes) -> None:
    json.loads(body)  # all of it is JSON, or what Python takes for JSON
    assert model_and_stream(body, 0) == (NOT_KNOWN, NOT_KNOWN, False)


@pytest.mark.parametrize(
    "body",
    [
        b'{"x":' + b"1" * LONGEST + b"}",
        b'{"x":' + b"[" * DEEPEST + b"]" * DEEPEST + b"}",
        b"{" + b'"x":1,' * (MOST_MEMBERS - 1) + b'"model":1}',
    ],
)
def test_up_to_its_limits_a_text_is_known(body: bytes) -> None:
    assert agrees_with_json(body)


@pytest.mark.parametrize("body", ORDINARY)
def test_a_text_that_is_cut_is_not_known(body: bytes) -> None:
    for end in range(len(body.rstrip())):
        assert model_and_stream(body[:end], 0)[0] == NOT_KNOWN


def test_a_rich_text_with_any_byte_changed_lost_or_put_in() -> None:
    """All of them; what json.loads refuses must not be known."""
    known = 0
    for at in range(len(RICH)):
        before, behind = RICH[:at], RICH[at + 1 :]
        known += agrees_with_json(before + behind)
        for byte in range(128):
            known += agrees_with_json(before + bytes([byte]) + behind)
            known += agrees_with_json(before + bytes([byte]) + RICH[at:])
    assert known > 4000  # most of what stands in strings may be anything


LENGTHS = [
    0,
    1,
    *(4096 + far + n for far in (0, 32 * 1024, 128 * 1024, 160 * 1024) for n in (-1, 0, 1)),
    300_000,
]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("behind", [b"", b"\\n", b"\\\\", b'\\"', "é".encode(), b"\\n" + b"y" * 40_000])
def test_a_string_of_any_length_is_skipped(length: int, behind: bytes) -> None:
    """Looked at byte by byte, or by find() from some length on."""
    text = b"x" * length + behind
    assert agrees_with_json(b'{"x":"%b","model":"%b","stream":true}' % (text, text))
    for end in (b"", b'"', b'","model":"m"', b'\\","model":"m"}'):
        assert model_and_stream(b'{"x":"' + text + end, 0)[0] == NOT_KNOWN


@pytest.mark.parametrize("place", [0, 4095, 4096, 50_000, 4095 + 131_072, 4096 + 131_072, 199_999])
@pytest.mark.parametrize("odd", [*(bytes([control]) for control in range(32)), b"\\x", b"\\u12g4"])
def test_nothing_odd_hides_in_a_long_string(place: int, odd: bytes) -> None:
    text = b"x" * place + odd + b"x" * (200_000 - place)
    assert model_and_stream(b'{"model":"m","x":"%b"}' % text, 0)[0] == NOT_KNOWN
    assert model_and_stream(b'{"model":"m","%b":1}' % text, 0)[0] == NOT_KNOWN


NAMES = st.sampled_from(["model", "stream", "x", "", "名"]) | st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.lists(st.tuples(NAMES, VALUES), max_size=6)
SPACES = st.sampled_from(["", " ", "\n\t", "\r\n "])


def written(members: list[tuple[str, object]], space: str, *, escaped: bool) -> bytes:
    pairs = [
        f"{json.dumps(name, ensure_ascii=escaped)}{space}:{space}{json.dumps(value, ensure_ascii=escaped)}"
        for name, value in members
    ]
    return f"{space}{{{space}{f'{space},{space}'.join(pairs)}{space}}}{space}".encode("utf-8", "replace")


@given(MEMBERS, SPACES, st.booleans())
def test_whatever_is_written_is_known_but_for_escapes_in_keys(
    members: list[tuple[str, object]], space: str, escaped: bool
) -> None:
    known = agrees_with_json(written(members, space, escaped=escaped))
    assert known is not any("\\" in json.dumps(name, ensure_ascii=escaped) for name, _ in members)


PIECES = st.sampled_from(
    [
        b'"',
        b"\\",
        b",",
        b":",
        b"{",
        b"}",
        b"[",
        b"]",
        b"0",
        b"-",
        b".",
        b"e",
        b"u",
        b" ",
        b"\n",
        b"true",
        b"null",
    ]
)


@given(MEMBERS, SPACES, st.data())
def test_what_is_damaged_is_known_only_where_it_is_json(
    members: list[tuple[str, object]], space: str, data: st.DataObject
) -> None:
    """Bytes lost, put in, or changing places."""
    body = written(members, space, escaped=True)
    for _ in range(data.draw(st.integers(1, 3))):
        begin, end = sorted((data.draw(st.integers(0, len(body))), data.draw(st.integers(0, len(body)))))
        match data.draw(st.sampled_from(["lost", "put in", "changed places"])):
            case "lost":
                body = body[:begin] + body[min(begin + 2, end) :]
            case "put in":
                body = body[:begin] + data.draw(PIECES | st.binary(max_size=2)) + body[begin:]
            case _:
                body = body[:begin] + body[begin:end][::-1] + body[end:]
    if body.isascii():  # the caller looks for itself whether it is UTF-8
        agrees_with_json(body)
