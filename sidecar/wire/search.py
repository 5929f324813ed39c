"""Words looked for in bytes.

In:      bytes of any size, and a word in ASCII.
Out:     where it begins first, or -1.
Why:     compiled, str.find is one call into C; bytes.find is looked up by its name and has its arguments taken apart,
         which costs more than to search a few hundred bytes. To read many as text would cost more than that.
"""

from __future__ import annotations

from typing import Final

_SHORT: Final = 1024


def find(data: bytes, word: str, start: int = 0) -> int:
    if len(data) <= _SHORT:
        return data.decode("latin-1").find(word, start)
    return data.find(word.encode("latin-1"), start)
