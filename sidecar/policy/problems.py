"""What is wrong with a config or a policy, all of it at once, with field path and line.

In:      findings of the reader and the checks, each at a field path such as `policy.services[0].url`.
Out:     Problem values; `str` of one is what a person reads.
Units:   lines count from 1; 0 stands for a policy that came from no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sidecar.frozen import Frozen

Lines = Mapping[str, int]  # field path -> line where it is written

# Above these, looking for a similar word costs more than it helps: a suggestion is a courtesy.
MAX_SUGGESTED_FROM = 200
MAX_SUGGESTED_LENGTH = 80
MAX_SUGGESTIONS = 100


class Problem(Frozen):
    """One thing to put right: `description` says what is wrong and what was expected."""

    field: str
    description: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.field}: {self.description}" if self.field else self.description


class Checked(Frozen):
    """What the checks found: with any problem the policy is refused, warnings are only told."""

    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


class Report:
    """Collects findings and looks up their lines."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.oversized = False  # too big to compare its parts with each other

    def problem(self, path: str, description: str) -> None:
        self.problems.append(Problem(path, description, line_of(self.lines, path)))

    def warning(self, path: str, description: str) -> None:
        self.warnings.append(Problem(path, description, line_of(self.lines, path)))

    def hint(self, word: str, known: Iterable[str], expected: str) -> str:
        """What to write instead of an unknown word: a similar one, or `expected`."""
        similar = did_you_mean(word, list(known)) if len(self.problems) < MAX_SUGGESTIONS else ""
        return similar or f"; expected {expected}"

    def checked(self) -> Checked:
        return Checked(by_line(self.problems), by_line(self.warnings))


def by_line(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """In the order of the file; those of one line as they were found."""
    return tuple(sorted(problems, key=lambda problem: problem.line))


def join(path: str, name: str) -> str:
    """The path of a named field below `path`; the root's own path is empty."""
    return f"{path}.{name}" if path else name


def parent(path: str) -> str:
    """The path one step up: of `a.b[0]` it is `a.b`, of `a.b` it is `a`, of `a` it is empty."""
    if path.endswith("]"):
        return path[: path.rindex("[")] if "[" in path else ""
    return path.rpartition(".")[0]


def line_of(lines: Lines, path: str) -> int:
    """Where `path` is written, or else the nearest thing around it that is."""
    while path and path not in lines:
        path = parent(path)
    return lines.get(path, 0)


def quote(text: str) -> str:
    """What was given, made safe and short enough for one line of a message."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """`; did you mean X?`, or nothing when no known word is like it."""
    if len(known) > MAX_SUGGESTED_FROM or len(word) > MAX_SUGGESTED_LENGTH:
        return ""
    from difflib import get_close_matches  # here, since most files have nothing to correct

    close = get_close_matches(word, known, 1)
    return f"; did you mean {close[0]}?" if close else ""
