"""What the SDKs of OpenAI and Anthropic say about themselves in their `x-stainless-*` fields.

In:      the fields of a request.
Out:     how long the app's SDK waits for an answer to begin, less a margin to be sure to come before it gives up;
         None: it does not say.
Units:   seconds.
Limits:  what is no plain number above zero says nothing: the Python SDKs write `NOT_GIVEN`, the Node SDKs
         round half a second down to `0`.
Source:  the SDKs' own code: `x-stainless-read-timeout` of Python, `x-stainless-timeout` of Node. Both clocks stop
         when the answer begins: Python's starts anew with every packet, Node's is over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from sidecar.wire.heads import Field

_TIMEOUTS: Final = frozenset((b"x-stainless-read-timeout", b"x-stainless-timeout"))
# For the way to an app that is busy; of a short timeout a tenth is all that can be spared.
_MARGIN: Final = 0.5
_NUMBER: Final = re.compile(rb"\d{1,9}(?:\.\d{1,9})?")


def patience(fields: Iterable[Field]) -> float | None:
    """By when, counted from the start of the request, the app has to be answered: before its shortest timeout."""
    shortest: float | None = None
    for lower, _, value in fields:
        if lower in _TIMEOUTS and _NUMBER.fullmatch(value):
            seconds = float(value)
            if seconds > 0 and (shortest is None or seconds < shortest):
                shortest = seconds
    return None if shortest is None else shortest - min(_MARGIN, shortest / 10)
