"""Scripts on a stage: connections of both sides with everything that may happen to them, and every place of a cut.

In:      a seed, which says all that happens.
Out:     what the stage has seen.
"""

from __future__ import annotations

from random import Random
from typing import Any

from tests.forms import messages
from tests.forms.invented import Loop
from tests.forms.messages import Habit
from tests.forms.stage import Stage, Transport
from tests.wire.splits import cut

STEPS = 60
PLAIN: dict[str, Any] = {
    "services": [{"name": "a", "url": "http://127.0.0.1:9/v1", "endpoints": ["127.0.0.1:9"]}],
    "routes": [{"services": ["a"]}],
}


def policy(rng: Random) -> dict[str, Any]:
    """Two services, one with two endpoints; the rest by chance."""
    first: dict[str, Any] = {
        "name": "a",
        "url": "http://127.0.0.1:9/v1",
        "endpoints": ["127.0.0.1:1", "127.0.0.1:2"],
        "timeouts": {"first_packet": "2s", "idle": "3s", "connect": "1s", "total": "40s", "response": "10s"},
        "load_balancing": rng.choice(("least_request", "round_robin", "peak_ewma", "consistent_hash")),
        "passive_health": {"consecutive_failures": rng.choice((0, 2, 5)), "base_ejection_time": "4s"},
    }
    second: dict[str, Any] = {"name": "b", "url": "http://127.0.0.1:8/openai", "endpoints": ["127.0.0.1:8"]}
    route: dict[str, Any] = {"services": ["a", "b"], "match": {"path_prefix": "/v1"}}
    if rng.random() < 0.4:
        first["timeouts"] |= rng.choice(
            ({"first_packet_soft": "500ms"}, {"first_packet_per_1k_tokens": "1s"}, {"first_packet": "300ms"})
        )
    if rng.random() < 0.3:
        first |= {"max_concurrency": 1, "queue": {"max_requests": 1, "timeout": "2s"}}
    if rng.random() < 0.3:
        second |= {
            "credentials": [{"bearer": {"literal": "k1"}}, {"bearer": {"literal": "k2"}}],
            "headers": {"set": {"x-set": "1"}, "remove": ["user-agent"]},
        }
    if rng.random() < 0.5:
        second |= rng.choice(({"model": "other"}, {"models": {"m": "ü"}}, {"first_packet_is": "headers"}))
    if rng.random() < 0.2:
        first["limits"] = {"max_header": "1KiB", "max_event": "1KiB", "max_held": "1KiB"}
    if rng.random() < 0.5:
        route |= rng.choice(
            (
                {"hedge": {"after": "300ms"}},
                {"deadline": "5s"},
                {"commit": "complete"},
                {
                    "rate_limit": [
                        {"requests": 5, "per": "10s"},
                        {"tokens": 900, "per": "1m", "by": ["model"]},
                    ]
                },
                {"retries_per_service": 0},
            )
        )
    own = {"services": ["b"], "match": {"path_prefix": "/own"}}
    return {"services": [first, second], "routes": [route, own]}


def connections(loop: Loop, seed: int) -> list[str]:
    """Many requests over few connections."""
    rng = Random(seed)
    stage = Stage(loop, policy(rng), seed)
    habit, server = Habit(rng), Habit(rng)
    server.path = habit.path
    for _ in range(STEPS):
        _step(stage, rng, habit, server)
        if rng.random() < 0.7:
            stage.turn()
    return stage.finish()


def _step(stage: Stage, rng: Random, habit: Habit, server: Habit) -> None:
    """What happens next: mostly that something arrives."""
    apps = [one for one in stage.apps if not one.is_closing()]
    llms = [one for one in stage.endpoints if not one.is_closing()]
    chance = rng.random()
    arriving = [one for one in (*apps, *llms) if one.arriving]
    if arriving and chance < 0.6:
        transport = rng.choice(arriving)
        for _ in range(rng.choice((1, 1, 2, len(transport.arriving)))):
            stage.deliver(transport)
        return
    asked = [one for one in llms if one.asked and not one.arriving]
    if asked and chance < 0.75:
        transport = rng.choice(asked)
        transport.asked = False
        transport.arriving.extend(messages.pieces(rng, messages.answer(rng, server, stream=habit.stream)))
        stage.deliver(transport)
    elif chance < 0.92:
        transport = rng.choice(apps) if apps and rng.random() < 0.85 else stage.connect()
        data = b"".join([messages.request(rng, habit) for _ in range(rng.choice((1, 1, 1, 1, 2, 3)))])
        transport.arriving.extend(messages.pieces(rng, data))
        stage.deliver(transport)
    elif (transports := [*apps, *llms]) and chance < 0.97:
        _trouble(stage, rng, rng.choice(transports))
    else:
        _beside(stage, rng)


def _trouble(stage: Stage, rng: Random, transport: Transport) -> None:
    """Something happens to a connection."""
    match rng.choice(("eof", "reset", "lost", "pause", "resume", "resume", "unsent", "sent", "breaks")):
        case "eof":
            stage.eof(transport)
        case "reset":
            transport.lose(ConnectionResetError(104, "Connection reset by peer"))
        case "lost":
            transport.lose(None)
        case "pause":
            transport.unsent = rng.randrange(1, 99)
            stage.call(transport.protocol.pause_writing)
        case "resume":
            transport.unsent = 0
            stage.call(transport.protocol.resume_writing)
        case "unsent":
            transport.unsent = 7
        case "sent":
            transport.unsent = 0
        case _:
            transport.breaks = True


def _beside(stage: Stage, rng: Random) -> None:
    """Something happens beside the connections."""
    chance = rng.random()
    if chance < 0.6:
        stage.loop.run_for(rng.choice((0.001, 0.02, 0.35, 1.0, 2.5, 6.0, 21.0, 60.0)))
    elif chance < 0.85:
        stage.dials.append(rng.choice(("refused", "silent", "open")))
    elif chance < 0.92:
        stage.install(policy(rng))
    elif chance < 0.97:
        stage.note(repr(stage.ledger.advance(stage.loop.time())))
    else:
        stage.drain()


# -- every cut -------------------------------------------------------------------------------------------------

REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n%bContent-Length: %d\r\n%b\r\n%b"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n%b\r\n%b"
STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    b'2b\r\ndata: {"choices":[{"delta":{"content":"a"}}]}\r\n4\r\n\n\ndi\r\n'
    b'3c\r\nta: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: \r\n8\r\n[DONE]\n\n\r\n0\r\n\r\n'
)
CHUNKED = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
WAYS = 6  # conversations that are cut


def conversation(way: int) -> tuple[list[bytes], list[bytes]]:
    """Requests and their answers; heads come again, with another length each time."""
    field = b"X-A: 1\r\n"
    front, back = (field, b"") if way % 2 else (b"", field)
    stream = way in (2, 3)
    bodies = [
        b'{"model":"m","messages":["%b"]%b}' % (b"x" * n, b',"stream":true' if stream else b"")
        for n in (1, 2, 90)
    ]
    requests = [REQUEST % (front, len(body), back, body) for body in bodies]
    if way == 4:
        requests = [CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) for body in bodies]
    answers = [STREAM] * 3 if stream else [ANSWER % (front, len(body), back, body) for body in bodies]
    if way == 5:
        answers = [answer.replace(b"200 OK", b"404 No") for answer in answers]
    return requests, answers


def cuts(loop: Loop, seed: int) -> list[str]:
    """A conversation of three requests over the same connections, with one cut in each: at `seed` and behind it."""
    way, place = seed % WAYS, seed // WAYS
    requests, answers = conversation(way)
    stage = Stage(loop, PLAIN, seed)
    app = stage.connect()
    for request, answer in zip(requests, answers, strict=True):
        _play(stage, app, cut(request, [place % len(request)]))
        if stage.endpoints:
            _play(stage, stage.endpoints[-1], cut(answer, [place % len(answer)]))
    return stage.finish()


def _play(stage: Stage, transport: Transport, pieces: list[bytes]) -> None:
    for piece in pieces:
        if piece:
            transport.arriving.append(piece)
            stage.deliver(transport)
            stage.turn()
            stage.turn()


def places() -> int:
    """How many seeds `cuts` has before its cuts come again."""
    longest = max(len(one) for way in range(WAYS) for side in conversation(way) for one in side)
    return WAYS * longest
