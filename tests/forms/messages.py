"""Requests and answers for scripts: as SDKs and servers send them, varied in one thing at a time, and broken ones.

In:      a seeded Random.
Out:     bytes, of which many begin with the same head as others of the same Habit.
"""

from __future__ import annotations

import json
from functools import cache
from random import Random

from tests.corpus.cases import read_cases
from tests.wire.splits import bytewise, cut

PATHS = ("/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/completions", "/v1/embeddings")
TRACE = b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-%016x-0%d\r\n"


@cache
def corpus(kind: str) -> list[bytes]:
    """What a side sends in the raw cases, those about limits left out."""
    by = ">" if kind == "requests" else "<"
    return [data for case in read_cases(kind) if 0 < len(data := case.sent(by)) <= 2048]


class Habit:
    """An app, or a server, that mostly does the same again."""

    def __init__(self, rng: Random) -> None:
        self.path = rng.choice(PATHS)
        self.length = rng.choice((b"Content-Length", b"Content-Length", b"content-length", b"CONTENT-LENGTH"))
        self.fields = rng.choice((b"", b"User-Agent: OpenAI/Python 3.54.0\r\nAuthorization: Bearer sk-1\r\n"))
        self.last = rng.random() < 0.5  # the length stands last
        self.stream = rng.random() < 0.5


def request(rng: Random, habit: Habit) -> bytes:
    kind = rng.random()
    if kind < 0.03:
        return rng.choice(corpus("requests"))
    if kind < 0.07:
        return b"GET /v1/models?n=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % rng.randrange(3)
    path = habit.path if rng.random() < 0.9 else rng.choice((*PATHS, "/own/chat/completions", "/none"))
    payload = body(rng, habit)
    fields = habit.fields
    if rng.random() < 0.25:
        fields += rng.choice(
            (
                TRACE % (rng.getrandbits(64), rng.randrange(2)),
                b"traceparent: 00-zz\r\n",
                b"tracestate: a=%d\r\n" % rng.randrange(9),
                b"X-Stainless-Timeout: %d\r\n" % rng.choice((0, 1, 5, 600, 2**64)),
                b"Expect: 100-continue\r\n",
                b"X-Request-Id: %d\r\n" % rng.randrange(99),
                b"Connection: close\r\n",
                b"Connection: x-api-key\r\nX-Api-Key: k\r\n",
                b"Host: elsewhere\r\n",
                b"Content-Length: 5\r\n",
            )
        )
    version = b"HTTP/1.0" if rng.random() < 0.03 else b"HTTP/1.1"
    line = b"POST %b %b\r\nHost: localhost\r\n" % (path.encode(), version)
    if rng.random() < 0.15:
        return line + fields + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(rng, payload)
    count = (
        b"%d" % len(payload) if rng.random() < 0.98 else rng.choice((b"", b"+1", b"1" * 19, b"007", b"99999"))
    )
    length = b"%b: %b\r\n" % (habit.length, count)
    return line + (fields + length if habit.last else length + fields) + b"\r\n" + payload


def body(rng: Random, habit: Habit) -> bytes:
    kind = rng.random()
    if kind < 0.04:
        return b""
    if kind < 0.08:
        return rng.choice(
            (b"{}", b"[1]", b'{"model":', b"\xef\xbb\xbf{}", b'{"model":"m","model":"n"}', b"\xff")
        )
    text = rng.choice(("hello", "héllo ☃", 'a\\b"c', '"model"', "x" * rng.choice((9, 99, 999, 9999))))
    members: list[tuple[str, object]] = [
        ("model", rng.choice(("m", "m", "gpt-4o", "modèle", ""))),
        ("messages", [{"role": "user", "content": text}]),
    ]
    if habit.stream if rng.random() < 0.9 else rng.random() < 0.5:
        members.append(("stream", True))
    rng.shuffle(members)
    said = json.dumps(dict(members), ensure_ascii=rng.random() < 0.5, indent=rng.choice((None, None, 1)))
    return said.replace("model", "mod\\u0065l", rng.random() < 0.05).encode()


def chunked(rng: Random, payload: bytes) -> bytes:
    pieces = cut(payload, [rng.randrange(len(payload) + 1) for _ in range(rng.randrange(4))])
    told = b"".join([_chunk(rng, piece) for piece in pieces if piece])
    trailer = rng.choice((b"", b"", b"", b"x: y\r\n"))
    return told + b"0\r\n" + trailer + rng.choice((b"\r\n",) * 40 + (b"", b"\n"))


def _chunk(rng: Random, piece: bytes) -> bytes:
    size = rng.choice((b"%x", b"%x", b"%x", b"%X", b"0%x", b"%x;a=b")) % len(piece)
    return size + rng.choice((b"\r\n",) * 80 + (b"\n",)) + piece + b"\r\n"


def answer(rng: Random, habit: Habit, *, stream: bool) -> bytes:
    """`stream`: the server was most likely asked for one."""
    kind = rng.random()
    if kind < 0.04:
        return rng.choice(corpus("responses"))
    if kind < 0.06:
        return b"HTTP/1.1 100 Continue\r\n\r\n" + answer(rng, habit, stream=stream)
    if kind < 0.18:
        return refusal(rng)
    if stream if rng.random() < 0.9 else rng.random() < 0.5:
        return events(rng, habit)
    payload = json.dumps(
        {
            "id": "c",
            "choices": [{"message": {"content": "x" * rng.choice((0, 5, 50, 5000))}}],
            "usage": {
                "prompt_tokens": rng.choice((3, 2**53, 2**63, -1)),
                "completion_tokens": rng.choice((5, 1.5, 0)),
            },
        }
    ).encode()
    return _whole(rng, habit, b"200 OK", b"application/json", payload)


def refusal(rng: Random) -> bytes:
    status = rng.choice(
        (b"500 Oops", b"503 No", b"429 Slow", b"404 None", b"401 Who", b"400 Bad", b"302 There")
    )
    after = rng.choice(
        (
            b"",
            b"",
            b"retry-after: 2\r\n",
            b"retry-after-ms: 1500\r\n",
            b"retry-after: 1e9\r\n",
            b"retry-after: x\r\n",
        )
    )
    code = rng.choice(("context_length_exceeded", "server_error", "overloaded_error", None, 5))
    said = json.dumps({"error": {"message": "no", "type": code, "code": code}}).encode()
    return b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status, after, len(said), said)


def events(rng: Random, habit: Habit) -> bytes:
    """A stream of the habit's dialect, or of another one."""
    path = habit.path if rng.random() < 0.9 else rng.choice(PATHS)
    end = rng.choice(("\n\n",) * 4 + ("\r\n\r\n", "\r\r"))
    told = [_event(path, word, end) for word in rng.choice((("a", "b", "c"), ("", "a"), ("x" * 3000,), ()))]
    if rng.random() < 0.3:
        told.insert(
            rng.randrange(len(told) + 1), rng.choice((": ping" + end, "event: ping\ndata: {}" + end, end))
        )
    last = rng.random()
    if last < 0.15:
        told.append('data: {"error":{"message":"full","type":"overloaded_error","code":"503"}}' + end)
    if last < 0.85:
        told += _end(path, end)
    payload = "".join(told).encode()
    return _whole(rng, habit, b"200 OK", b"text/event-stream; charset=utf-8", payload, stream=True)


def _event(path: str, word: str, end: str) -> str:
    match path:
        case "/v1/messages":
            said: dict[str, object] = {
                "type": "content_block_delta",
                "delta": {"type": "text_delta", "text": word},
            }
            return f"event: content_block_delta\ndata: {json.dumps(said)}{end}"
        case "/v1/responses":
            said = {"type": "response.output_text.delta", "delta": word, "sequence_number": 1}
            return f"event: response.output_text.delta\ndata: {json.dumps(said)}{end}"
        case _:
            return f"data: {json.dumps({'id': 'c', 'choices': [{'delta': {'content': word}, 'text': word}]})}{end}"


def _end(path: str, end: str) -> list[str]:
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "input_tokens": 7, "output_tokens": 3}
    match path:
        case "/v1/messages":
            return [
                f"event: message_delta\ndata: {json.dumps({'type': 'message_delta', 'usage': usage})}{end}",
                f'event: message_stop\ndata: {{"type":"message_stop"}}{end}',
            ]
        case "/v1/responses":
            said = {"type": "response.completed", "response": {"id": "r", "usage": usage}}
            return [f"event: response.completed\ndata: {json.dumps(said)}{end}"]
        case _:
            return [
                f"data: {json.dumps({'choices': [{'delta': {}, 'finish_reason': 'stop'}], 'usage': usage})}{end}",
                f"data: [DONE]{end}",
            ]


def _whole(
    rng: Random, habit: Habit, status: bytes, kind: bytes, payload: bytes, *, stream: bool = False
) -> bytes:
    front = b"HTTP/1.1 %b\r\nserver: uvicorn\r\ncontent-type: %b\r\n" % (status, kind)
    if rng.random() < 0.2:
        front += rng.choice(
            (
                b"x-request-id: %d\r\n" % rng.randrange(99),
                b"connection: close\r\n",
                b"content-encoding: gzip\r\n",
            )
        )
    framing = rng.random()
    if framing < (0.8 if stream else 0.2):
        return front + b"transfer-encoding: chunked\r\n\r\n" + chunked(rng, payload)
    if framing < 0.9:
        more = rng.choice((b"",) * 9 + (b"HTTP/1.1 200 OK\r\n",))
        length = habit.length if rng.random() < 0.9 else b"content-length"
        return front + b"%b: %d\r\n\r\n%b" % (length, len(payload), payload + more)
    return front + b"\r\n" + payload


def pieces(rng: Random, data: bytes) -> list[bytes]:
    """As they may arrive."""
    how = rng.random()
    if how < 0.4:
        return [data]
    if how < 0.45 and len(data) < 600:
        return list(bytewise(data))
    if how < 0.6 and (end := data.find(b"ontent-")) >= 0:  # around the one place that heads differ in
        return [piece for piece in cut(data, [end + rng.randrange(30) for _ in range(2)]) if piece]
    return [
        piece for piece in cut(data, [rng.randrange(len(data)) for _ in range(rng.randrange(1, 5))]) if piece
    ]
