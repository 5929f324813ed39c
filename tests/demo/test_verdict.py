"""What an app makes of a stream."""

from __future__ import annotations

from sidecar.demo.answers import Ask, Kind, Writer
from sidecar.demo.verdict import Verdict


def stream(tokens: int, *, number: int = 1, model: str = "m") -> bytes:
    writer = Writer(Ask(Kind.CHAT, model, stream=True, tokens=tokens, usage=True, inputs=("hi",)), number)
    return writer.role() + b"".join(writer.delta(n) for n in range(1, tokens + 1)) + writer.closing()


def problem(body: bytes, tokens: int = 3) -> str:
    verdict = Verdict(tokens)
    verdict.feed(body)
    return verdict.problem()


def test_a_whole_answer_has_no_problem_however_it_comes() -> None:
    """Pieces of one byte or all at once."""
    verdict = Verdict(3)
    for byte in stream(3):
        verdict.feed(bytes([byte]))
    assert (verdict.problem(), problem(stream(3))) == ("", "")


def test_an_answer_begins_with_its_first_text() -> None:
    """Not with the event that only names the role, nor with a comment."""
    verdict = Verdict(1)
    writer = Writer(Ask(Kind.CHAT, "m", stream=True, tokens=1, usage=False, inputs=("hi",)), 1)
    verdict.feed(b": ping\n\n" + writer.role())
    before = verdict.begun
    verdict.feed(writer.delta(1))
    assert (before, verdict.begun) == (False, True)


def test_a_cut_answer_is_seen() -> None:
    """Wherever it is cut, even before [DONE] only."""
    whole = stream(3)
    assert problem(whole[: whole.index(b"data: [DONE]")]) == "the answer is cut"
    assert problem(b"") == "the answer is cut"


def test_a_missing_or_surplus_word_is_seen() -> None:
    """Retried streams that are joined lose or repeat words."""
    assert problem(stream(2), tokens=3) == "the text is not the one asked for"
    assert problem(stream(4), tokens=3) == "the text is not the one asked for"


def test_two_answers_in_one_are_seen() -> None:
    """Every byte the app gets comes from one attempt."""
    first, second = stream(3, number=1), stream(3, number=2, model="other")
    middle = first.index(b"\n\n") + 2
    assert problem(first[:middle] + second[second.index(b"\n\n") + 2 :]) == "2 answers in one"


def test_an_error_in_the_stream_is_told() -> None:
    """What the sidecar sends when a stream breaks after commit."""
    assert problem(b'data: {"error": {"message": "broken"}}\n\n') == "error in the stream: broken"
