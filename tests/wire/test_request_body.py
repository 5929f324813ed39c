"""The body is understood as the services understand it, and nothing but the model's name changes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.request_body import NOTHING, peek, with_model

ODD = b'"odd": Infinity, '  # with it a body is parsed whichever form this is
TEXT = "x" * 40_000  # so long that its end is searched


def judged(body: bytes) -> tuple[str | None, bool, bool]:
    """What json.loads makes of it: model, stream, valid."""
    try:
        said = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None, False, False
    if not isinstance(said, dict):
        return None, False, False
    model = said.get("model")
    if not isinstance(model, str) or any("\ud800" <= c <= "\udfff" for c in model):
        model = None
    return model, said.get("stream") is True, True


def agrees_with_json(body: bytes) -> None:
    model, stream, span, valid = peek(body)
    assert (model, stream, valid) == judged(body)
    assert (span is None) is (model is None)
    if span is not None:
        begin, end = span
        assert json.loads(body[begin:end]) == model
        renamed = with_model(body, span, json.dumps('new "名"').encode())
        assert renamed[:begin] == body[:begin]
        assert renamed.endswith(body[end:])
        assert json.loads(renamed.decode("utf-8-sig")) == {
            **json.loads(body.decode("utf-8-sig")),
            "model": 'new "名"',
        }
    else:
        assert with_model(body, None, b'"new"') is body


@pytest.mark.parametrize(
    ("body", "model", "stream"),
    [
        (b'{"model":"a","stream":true}', "a", True),
        (b'{"messages":[{"model":"b","stream":true}],"model":"a"}', "a", False),
        (b'{"messages":[{"model":"b"}]}', None, False),
        (b'{"x":"\\"model\\":\\"b\\"","model":"a"}', "a", False),
        (b'{"x":",\\"model\\":\\"b\\""}', None, False),
        (b'{"x":"model","y":"\\\\","model":"a"}', "a", False),
        (b'{"\\u006dodel":"a"}', "a", False),
        (b'{"mod\\u0065l":"a","model":5}', None, False),
        (b'{"model":"\\u0061\\/b"}', "a/b", False),
        (b'{"model":"a","model":"b","stream":true,"stream":false}', "b", False),
        (b'{"model":"a","model":null}', None, False),
        (b'\xef\xbb\xbf {"model" :\t"a"\r\n, "stream" : true } \n', "a", True),
        ('{"名":"模型","model":"千问"}'.encode(), "千问", False),
        (b'{"model":"\\ud800"}', None, False),
        (b'{"model":"\\ud83d\\ude00"}', "😀", False),
        (b'{"model":["a"],"stream":"true"}', None, False),
        (b'{"stream":1}', None, False),
        (b'{"t":NaN,"model":"a"}', "a", False),
        (b'{"":"","model":""}', "", False),
        (b"{ }", None, False),
    ],
)
def test_the_top_level_members_count(body: bytes, model: str | None, stream: bool) -> None:
    """A key in a string or a nested object must not fool it; escapes and doubles must not either."""
    seen, asked, _, valid = peek(body)
    assert (seen, asked, valid) == (model, stream, True)
    agrees_with_json(body)
    agrees_with_json(body.replace(b"{", b"{" + ODD, 1) if body != b"{ }" else body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"[]",
        b'"model"',
        b"null",
        b'{"model":"a"',
        b'{"model":"a",}',
        b'{,"model":"a"}',
        b'{"model" "a"}',
        b'{"model":}',
        b'{"model":"a"} x',
        b'{"model":"a"}{}',
        b'{"model":"a" "b":1}',
        b"{'model':'a'}",
        b'{"model":"a","x":[1,]}',
        b'{"model":"a","x":"\n"}',
        b'{"a\nb":1,"model":"a"}',
        b'{"\\x":1,"model":"a"}',
        b'{"model":"a","x":"\xff"}',
        b'{"model":"a","x":' + b"[" * 100_000,
        b'{"model":"a","x":' + b"9" * 5000 + b"}",
        '{"model":"a"}'.encode("utf-16"),
        b'\xef\xbb\xbf\xef\xbb\xbf{"model":"a"}',
    ],
)
def test_what_is_no_json_object_has_no_model(body: bytes) -> None:
    """It is passed on as it is, or refused by the route; never changed."""
    assert peek(body) == NOTHING
    odd = body.replace(b"{", b"{" + ODD, 1)
    assert peek(odd) == NOTHING
    assert with_model(body, peek(body)[2], b'"new"') is body


def test_an_object_of_countless_members_is_not_read() -> None:
    """Reading it member by member would hold up every other request."""
    assert peek(b"{" + b'"a":1,' * 9_999 + b'"model":"m"}')[0] == "m"
    assert peek(b"{" + b'"a":1,' * 10_000 + b'"model":"m"}') == NOTHING


NAMES = st.sampled_from(["model", "stream", "x", "", 'mo"del', "\\", "名"]) | st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.lists(st.tuples(NAMES, VALUES), max_size=6)
SPACES = st.sampled_from(["", " ", "\n\t", "\r\n "])


@given(MEMBERS, SPACES, st.booleans(), st.booleans())
def test_json_loads_agrees_on_objects(
    members: list[tuple[str, object]], space: str, escaped: bool, odd: bool
) -> None:
    """Doubles, any white space, escaped or raw, walked over or parsed."""
    rendered = [
        f"{json.dumps(name, ensure_ascii=escaped)}{space}:{space}{json.dumps(value, ensure_ascii=escaped)}"
        for name, value in members
    ]
    if odd:
        rendered.insert(0, ODD.decode()[:-2])
    body = f"{space}{{{space}{f'{space},{space}'.join(rendered)}{space}}}{space}"
    agrees_with_json(body.encode("utf-8", "replace"))


@given(MEMBERS, st.integers(min_value=0), st.binary(max_size=3), st.booleans())
def test_json_loads_agrees_on_damaged_objects(
    members: list[tuple[str, object]], place: int, noise: bytes, odd: bool
) -> None:
    """A byte lost or put in anywhere."""
    pairs = ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in members)
    body = b"{" + (ODD if odd else b"") + pairs.encode() + b"}"
    at = place % len(body)
    agrees_with_json(body[:at] + noise + body[at + 1 :])


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (b'{"model":"a","image":"%b"}', "a"),
        (b'{"image":"%b","model":"a"}', "a"),
        (b'{"image":"%b","model":"a","model":"b"}', "b"),
        (b'{"a\\"":"%b","model":"a"}', "a"),
        (b'{"a\\\\":"%b","model":"a"}', "a"),
        (b'{"%b":1,"model":"a"}', "a"),
        (b'{"model":"a","messages":[{"model":"b","text":"%b"}]}', "a"),
        (b'{"model":"%b","stream":true}', TEXT),
        (b'{"model":"a","model":"%b"}', TEXT),
        (b'{"model":"%b","model":"a"}', "a"),
        (b'{"model":"a","x":"%b\xe5\x90\x8d"}', "a"),
        (b'{"model":"a","x":"%b\\n"}', "a"),
        (b'{"model":"a","x":"%b\n"}', None),
        (b'{"model":"a","x":"\x00%b"}', None),
        (b'{"model":"a","x":"%b\xff"}', None),
        (b'{"model":"a","x":"%b\\x"}', None),
        (b'{"model":"a","x":"%b', None),
        (b'{"model":"a",%b"x":1}', None),
        (b'{\\"model":"a","x":"%b"}', None),
        (b'{\\"x":"%b","model":"a"}', None),
        (b'{"x":"\\u12","y":"%b","model":"a"}', None),
        (b"%b", None),
    ],
)
def test_a_text_that_is_most_of_the_body_hides_nothing(body: bytes, model: str | None) -> None:
    """It is skipped without a look at each byte."""
    whole = body % TEXT.encode()
    assert peek(whole)[0] == model
    agrees_with_json(whole)


@pytest.mark.parametrize("between", [b"1," * 20_000 + b"1", b" " * 40_000, b"x" * 40_000])
@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","x":[%b],"y":"z"}',
        b'{"a\\"":[%b],"model":"a"}',
        b'{"x":"y"%b,"model":"a"}',
        b'{"x"%b:"y","model":"a"}',
        b'{"model":"a"%b}',
        b'{"model":%b"a"}',
    ],
)
def test_what_stands_between_two_texts_is_never_skipped(body: bytes, between: bytes) -> None:
    agrees_with_json(body % between)


PARTS = st.sampled_from(
    [
        b'"',
        b"\\",
        b"\\\\",
        b'\\"',
        b",",
        b":",
        b"{",
        b"}",
        b"[",
        b"]",
        b'"model":"m",',
        b'"x":"y",',
        b'"x":"',
        b"\n",
        b"\xff",
        b" ",
    ]
)


@given(st.lists(PARTS, max_size=8).map(b"".join), st.lists(PARTS, max_size=8).map(b"".join))
def test_json_loads_agrees_on_what_stands_around_a_long_text(before: bytes, behind: bytes) -> None:
    for opening, closing in ((b"{", b"}"), (b'{"x":"', b'"}'), (b'{"model":"', b'","stream":true}')):
        agrees_with_json(opening + before + TEXT.encode() + behind + closing)


@given(MEMBERS, MEMBERS, st.booleans(), NAMES)
def test_json_loads_agrees_on_a_long_text_anywhere(
    before: list[tuple[str, object]], behind: list[tuple[str, object]], nested: bool, name: str
) -> None:
    text: object = [{"model": TEXT}] if nested else TEXT
    pairs = ",".join(
        f"{json.dumps(key)}:{json.dumps(value)}" for key, value in [*before, (name, text), *behind]
    )
    agrees_with_json(f"{{{pairs}}}".encode())
