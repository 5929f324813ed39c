r"""Cases as text files: what is sent byte for byte, and what must come of it.

In:      tests/corpus/requests/*.txt and responses/*.txt.
Out:     Cases, in the order of the files.
Errors:  BadCase with file and line: a case that cannot be read is never skipped.

    # a comment
    let NAME: TEXT            a macro, from here on and in the files after this one; used as \(NAME)
    [name of a case]
    source: where it is from
    KEY: VALUE                what is asked and expected, in order; the tests say which keys there are
    > TEXT                    the app sends this line and CRLF
    >> TEXT                   the app sends this and nothing more
    ># TEXT                   the app sends this as one chunk
    < TEXT, << TEXT, <# TEXT  the endpoint sends it
    -- MARKER                 between two writes: pause, close, reset, …

TEXT is UTF-8 with the escapes \r \n \t \0 \\ \xHH, \(NAME) for a macro and \(TEXT*COUNT) for a repetition.
One space after the mark is not part of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent

_ESCAPE = re.compile(r"\\(?:\(([^()*]+)(?:\*(\d+))?\)|x([0-9A-Fa-f]{2})|(.))")
_SIMPLE = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
_SENT = re.compile(r"([<>])([<>#]?) ?(.*)")
_MARKER = re.compile(r"-- (\S.*)")
_FACT = re.compile(r"([a-z ]+): ?(.*)")


class BadCase(ValueError):
    """A case file that says nothing clear."""


class Bytes(NamedTuple):
    """One write."""

    by: str  # `>`: the app; `<`: the endpoint
    data: bytes


class Marker(NamedTuple):
    """What happens between two writes."""

    word: str


Step = Bytes | Marker


@dataclass
class Case:
    """One case; `facts` are its keys and values in order, values still with their escapes."""

    name: str
    file: str
    macros: dict[str, bytes]
    facts: list[tuple[str, str]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def fact(self, key: str, default: str = "") -> str:
        """The value of a key that is there once at most."""
        values = self.all(key)
        assert len(values) < 2, f"{self.name}: {key} twice"
        return values[0] if values else default

    def all(self, key: str) -> list[str]:
        return [value for name, value in self.facts if name == key]

    def text(self, value: str) -> bytes:
        """A value as the bytes it stands for."""
        return unescape(value, self.macros)

    def sent(self, by: str) -> bytes:
        """All that one side sends, in one piece."""
        return b"".join(step.data for step in self.steps if isinstance(step, Bytes) and step.by == by)

    def markers(self) -> list[str]:
        return [step.word for step in self.steps if isinstance(step, Marker)]


def read_cases(kind: str) -> list[Case]:
    """Every case of a kind: `requests` or `responses`."""
    cases: list[Case] = []
    macros: dict[str, bytes] = {}
    for path in sorted((FOLDER / kind).glob("*.txt")):
        _read_file(path, cases, macros)
    return cases


def unescape(text: str, macros: dict[str, bytes]) -> bytes:
    """The bytes that a TEXT stands for."""
    parts, at = [], 0
    for match in _ESCAPE.finditer(text):
        parts.append(text[at : match.start()].encode())
        at = match.end()
        name, count, code, simple = match.groups()
        if count is not None:
            parts.append(unescape(name, macros) * int(count))
        elif name is not None:
            parts.append(macros[name])
        elif code is not None:
            parts.append(bytes((int(code, 16),)))
        else:
            parts.append(_SIMPLE[simple])
    parts.append(text[at:].encode())
    return b"".join(parts)


def _read_file(path: Path, cases: list[Case], macros: dict[str, bytes]) -> None:
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        try:
            _read_line(line, path.stem, cases, macros)
        except (KeyError, IndexError, ValueError) as error:
            raise BadCase(f"{path.name}:{number}: {line!r}: {error!r}") from error


def _read_line(line: str, file: str, cases: list[Case], macros: dict[str, bytes]) -> None:
    if not line.strip() or line.startswith("#"):
        return
    if line.startswith("let "):
        name, _, text = line[4:].partition(": ")
        if name in macros:
            raise ValueError("is a macro already")
        macros[name] = unescape(text, macros)
    elif line.startswith("["):
        cases.append(Case(line[1 : line.rindex("]")], file, macros))
    elif match := _SENT.fullmatch(line):
        cases[-1].steps.append(_bytes(match, cases[-1]))
        _join(cases[-1].steps)
    elif match := _MARKER.fullmatch(line):
        cases[-1].steps.append(Marker(match[1]))
    elif match := _FACT.fullmatch(line):
        cases[-1].facts.append((match[1], match[2]))
    else:
        raise ValueError("is no line of a case")


def _bytes(line: re.Match[str], case: Case) -> Bytes:
    by, how, text = line.groups()
    data = unescape(text, case.macros)
    if how == "#":
        return Bytes(by, b"%x\r\n%b\r\n" % (len(data), data))
    return Bytes(by, data if how else data + b"\r\n")


def _join(steps: list[Step]) -> None:
    """What stands between two markers is one write."""
    if len(steps) > 1:
        before, last = steps[-2:]
        if isinstance(before, Bytes) and isinstance(last, Bytes) and before.by == last.by:
            steps[-2:] = [Bytes(last.by, before.data + last.data)]
