"""A whole JSON text, as json.loads takes it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.json_text import parse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
WHY = r"JSON|Expecting|Invalid|Unterminated|Illegal"
SPACES = st.text(" \t\r\n", max_size=3)


@given(VALUES, SPACES, SPACES, st.sampled_from([None, 2]))
def test_values_and_the_white_space_around_them_are_read(
    value: object, before: str, behind: str, indent: int | None
) -> None:
    text = json.dumps(value, indent=indent)
    assert parse(before + text + behind) == value


@given(st.text('{}[]",:0-9.eEtruefalsn \\u00\t\n', max_size=12))
def test_what_json_loads_refuses_is_refused(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError, match=WHY):
            parse(text)
    else:
        assert repr(parse(text)) == repr(expected)  # by repr, since NaN is not equal to itself


@pytest.mark.parametrize("text", ["", " ", "{", "{} {}", "{}x", "[1,]", "nul", '"\n"', "\ufeff{}", "\x0b{}"])
def test_no_json_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=WHY):
        parse(text)


def test_too_deep_is_an_error() -> None:
    with pytest.raises(RecursionError):
        parse("[" * 100_000)
