"""The ways in which the same bytes may arrive.

In:      bytes.
Out:     lists of pieces: at once, byte by byte, and cut at random places; of a stream also an event at a time.
Why:     the places follow from the bytes, so that a file of bytes alone repeats a finding.
"""

from __future__ import annotations

import re
from random import Random
from zlib import crc32

from tests.wire.splits import bytewise, cut


def ways(data: bytes) -> list[list[bytes]]:
    rng = Random(crc32(data))
    places = [rng.randrange(len(data) + 1) for _ in range(rng.randrange(8))]
    return [[data], list(bytewise(data)), cut(data, places)]


def by_events(data: bytes) -> list[bytes]:
    """As services send them, and as nothing but chance would: events are then told by the one before (text_event)."""
    return cut(data, [blank.end() for blank in re.finditer(b"\n\n", data)])
