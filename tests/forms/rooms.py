"""Scripts for rooms that need no connections: readers of bytes that go on from read to read, and decisions over time.

In:      a seed, which says all that happens.
Out:     all that a caller could see.
Rule:    what a room raises is seen by its kind: both forms have to raise the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

from sidecar.attempt.plan import Try
from sidecar.exchange.answers import own_response
from sidecar.failure import Failure, FailureKind
from sidecar.health.limit import Limit
from sidecar.health.scopes import Scopes, blame_of
from sidecar.health.window import Window
from sidecar.record import AttemptRecord, RequestRecord
from sidecar.telemetry.access_log import AccessLog
from sidecar.telemetry.lines import Lines
from sidecar.telemetry.output import Output
from sidecar.telemetry.walltime import WallTime
from sidecar.wire import traceparent
from sidecar.wire.dialect import Shape, error_event, shape_of
from sidecar.wire.first_packet import StreamReader
from sidecar.wire.framing import Chunked, Counted, Walker
from sidecar.wire.head_cache import Likely, RequestHeads, ResponseHeads, likely
from sidecar.wire.heads import head_end
from sidecar.wire.request_body import peek, prompt_prefix, with_model
from sidecar.wire.sse import EventReader
from sidecar.wire.usage import usage_of_answer
from tests.attempt import test_with_the_ledger as together
from tests.forms import messages
from tests.forms.messages import Habit
from tests.fuzz.answers import SETTINGS, Path
from tests.fuzz.streams import READINGS
from tests.slots import slots_of

ROUNDS = 12


def _try(what: Callable[..., object], *args: object, **named: object) -> str:
    try:
        return repr(what(*args, **named))
    except Exception as error:
        return f"raised {type(error).__name__}"


def _mutated(rng: Random, data: bytes) -> bytes:
    """Mostly as it was; else a few bytes lost, doubled or changed."""
    for _ in range(rng.choice((0, 0, 1, 1, 3))):
        at = rng.randrange(len(data) + 1)
        size = rng.randrange(4)
        odd = rng.choice((b"", b"\r", b"\n", b"\r\n", b"\0", b"0", b"\xff", b":", data[at : at + size] * 2))
        data = data[:at] + odd + data[at + size :]
    return data


def _kept(thing: object) -> list[object]:
    """What it shows of itself."""
    names = [name for name in slots_of(thing) if not name.startswith("_")]
    return [getattr(thing, name) for name in sorted(names)]


def heads(seed: int) -> list[str]:
    """Both caches of heads, and guesses by the head before."""
    rng = Random(seed)
    seen: list[str] = []
    requests, responses = RequestHeads(), ResponseHeads()
    habit = Habit(rng)
    guess: Likely[Any] | None = None
    for _ in range(ROUNDS):
        asked = rng.random() < 0.5
        whole = messages.request(rng, habit) if asked else messages.answer(rng, habit, stream=habit.stream)
        data = _mutated(rng, whole)
        if guess is not None:
            seen += [_try(guess.match, data[:end], 4096) for end in range(min(len(data), 400))]
        if (end := head_end(data)) < 0:
            continue
        head = data[:end]
        read = requests.parse(head) if asked else responses.parse(head)
        if not isinstance(read, tuple) or isinstance(read[0], (int, str)):
            seen.append(repr(read))
            continue
        seen.append(repr([_shown_of(read[0]), *read[1:]]))
        guess = likely(head, read[0])
    return seen


def _shown_of(head: object) -> list[str]:
    return [
        f"{name} {getattr(head, name)!r}" for name in sorted(slots_of(head)) if name not in ("memo", "number")
    ]


def chunks(seed: int) -> list[str]:
    rng = Random(seed)
    seen: list[str] = []
    for _ in range(ROUNDS):
        payload = rng.randbytes(rng.choice((0, 1, 15, 16, 17, 300)))
        data = _mutated(rng, messages.chunked(rng, payload) + rng.choice((b"", b"left", b"GET /")))
        walker: Walker = Chunked() if rng.random() < 0.8 else Counted(len(payload))
        for piece in messages.pieces(rng, data or b"0"):
            seen.append(_try(walker.feed, piece))
            seen.append(repr(_kept(walker)))
        seen.append(_try(walker.eof))
    return seen


def bodies(seed: int) -> list[str]:
    rng = Random(seed)
    seen: list[str] = []
    habit = Habit(rng)
    for _ in range(ROUNDS):
        data = messages.body(rng, habit)
        data = _mutated(rng, data[: rng.choice((len(data), len(data), rng.randrange(len(data) + 1)))])
        if rng.random() < 0.1:
            data = data.replace(b"{", b'{"long":"' + b"y" * 70_000 + b'",', 1)
        found = peek(data)
        seen.append(repr(found))
        seen.append(_try(with_model, data, found[2], b'"n"'))
        seen += [_try(prompt_prefix, data, length) for length in (16, 1024)]
        seen.append(repr(usage_of_answer(data)))
    return seen


def streams(seed: int) -> list[str]:
    rng = Random(seed)
    seen: list[str] = []
    habit = Habit(rng)
    for _ in range(ROUNDS):
        answer = messages.events(rng, habit)
        data = _mutated(rng, answer[max(answer.find(b"\r\n\r\n"), 0) :].lstrip())
        first_packet_is, shape = rng.choice(READINGS)
        reader, events = StreamReader(shape, first_packet_is, 2048), EventReader(rng.choice((48, 2048)))
        for piece in messages.pieces(rng, data or b"\n"):
            seen.append(_try(events.feed, piece))
            seen.append(_try(reader.feed, piece))
            seen.append(
                repr([_kept(reader), reader.pending, reader.overflow, events.pending, events.overflow])
            )
        seen.append(repr(usage_of_answer(data)))
    return seen


def answers(seed: int) -> list[str]:
    """Gate and relay, with each way to be asked."""
    rng = Random(seed)
    seen: list[str] = []
    habit = Habit(rng)
    for _ in range(ROUNDS):
        path = Path(rng.choice(SETTINGS))
        for piece in messages.pieces(rng, _mutated(rng, messages.answer(rng, habit, stream=True)) or b"H"):
            if path.seen is None:
                seen.append(_try(path.received, piece))
                seen.append(repr(path._sent))
        if path.seen is None:
            seen.append(_try(rng.choice((path.closed, path.reset))))
        seen.append(repr(path.seen))
    return seen


class _Request(together.Request):
    """One that notes what its plan wants."""

    seen: list[str]

    def carry_out(self, command: together.Command) -> None:
        if isinstance(command, Try):
            told = (command.number, command.rank, command.endpoint.key, command.reason)
            self.seen.append(repr((*told, command.fallback_from, command.deadline)))
        else:
            self.seen.append(repr(command))
        super().carry_out(command)


def plans(seed: int) -> list[str]:
    """Plans, picking and the ledger, as in tests/attempt/test_with_the_ledger.py."""
    world = together.World(seed)
    seen: list[str] = []
    _Request.seen = seen
    requests: list[_Request] = []
    for _ in range(400):
        world.now += world.rng.expovariate(20.0)
        seen.append(repr(world.ledger.advance(world.now)))
        world.happens()
        if len(requests) < 20 and world.rng.random() < 0.3:
            requests.append(_Request(world))
        elif requests:
            world.rng.choice(requests).happens(world.rng)
        requests = [one for one in requests if not one.over]
    seen.append(repr(world.ledger.statuses(world.now)))
    seen.append(repr([world.retries.refused, world.ledger.next_deadline()]))
    return seen


def limits(seed: int) -> list[str]:
    """The adaptive limit, a window of outcomes and what cools down, with numbers at the edge of what they may be."""
    rng = Random(seed)
    seen: list[str] = []
    limit = Limit(rng.choice((0.001, 2.0, 3600.0)), rng, cancels=rng.random() < 0.5)
    window, scopes = Window(rng.choice((0.01, 10.0))), Scopes()
    now, running = rng.choice((0.0, 1e3, 2.0**53)), [0.0]
    for _ in range(200):
        now += rng.choice((0.0, 1e-9, 0.1, 1.0, 1e3, 1e7))
        count = len(running)
        began = rng.choice(running)
        match rng.randrange(6):
            case 0:
                running.append(now)
                limit.began(now)
            case 1:
                limit.on_time(began, count)
            case 2:
                limit.late(began, count, now)
            case 3:
                limit.gave_up(now)
            case 4:
                limit.ended(began, count, now, well=rng.random() < 0.8)
            case _:
                limit.waiting(rng.choice((0, 1, 2**70)), now)
        window.add(failed=rng.random() < 0.5, now=now)
        asked = rng.choice((None, 0.0, 1.5, 1e9, math.inf))
        failure = Failure(rng.choice(list(FailureKind)), rng.choice((401, 402, 404, 429, 503)), asked)
        blame = blame_of(failure, "s", rng.choice((None, "k")), rng.choice((None, "m", "n")))
        if blame is not None:
            seen.append(repr(scopes.cool(blame, 300.0, now)))
        seen.append(
            repr([limit.allows(count, now), limit.at(now), limit.ghosts(now), window.failure_percentage])
        )
        seen.append(
            repr([scopes.over(now), scopes.deadline(), scopes.closed("s", "m", now), scopes.all_keys(now)])
        )
    return seen


class _Taken(Output):
    def __init__(self, seen: list[str], rng: Random) -> None:
        self._seen, self._rng = seen, rng

    def write(self, data: bytes | bytearray | memoryview) -> int:
        taken = self._rng.randrange(len(data) + 1)
        self._seen.append(repr(bytes(data[:taken])))
        return taken

    def close(self) -> None: ...


class _NoTimer:
    def call_later(self, *_: object) -> None: ...


def shown(seed: int) -> list[str]:
    """Log lines, answers of our own and ids, of records with anything in them."""
    rng = Random(seed)
    seen: list[str] = []
    lines = Lines(_Taken(seen, rng), _NoTimer(), capacity=2000)  # type: ignore[arg-type]
    log = AccessLog(lines, WallTime())
    for _ in range(ROUNDS):
        words = rng.choice(("", "plain", 'a"b\\c', "ü☃\U0001f600", "\x00\x1f\u2028", "x" * 9999, "\udc80"))
        number = rng.choice((0, 1, 2**31, 2**62 - 1, 2**62, 2**63, 2**64, 2**127))
        moment = rng.choice((0.0, 0.05, 0.25, 1.0005, 1e9))
        record = RequestRecord(
            b"%032x" % (number or 1),
            b"%016x" % (number & (2**64 - 1) or 1),
            moment,
            rng.choice((0, 10**9 - 1, 2**63 - 10**15)),
        )
        record.method = record.path = record.model = words
        record.route, record.status, record.stream = "/v1#0", rng.choice((0, 200, 599)), rng.random() < 0.5
        record.bytes_out = record.body_bytes = number
        record.prompt_tokens, record.completion_tokens = rng.choice((None, number)), rng.choice((None, 3))
        record.ended_at = rng.choice((None, moment + rng.choice((0.0, 1e-7, 0.04999, 2.5e3))))
        for n in range(rng.randrange(3)):
            attempt = AttemptRecord(
                n, "s", "127.0.0.1:1", b"%016x" % (n + 1), moment, rng.choice((None, "hedge"))
            )
            attempt.failure = rng.choice((None, Failure(FailureKind.STATUS, 503)))
            attempt.first_packet_at = attempt.ended_at = moment + rng.random()
            record.attempts.append(attempt)
        seen.append(_try(log.request_finished, record))
        if rng.random() < 0.5:
            lines.flush()
        shape, status = rng.choice(list(Shape)), rng.choice((404, 503, 418))
        named = {"model": words, "created_at": number, "response_id": ""}
        seen.append(_try(error_event, shape, "code", words, "r", **named))
        named = {"keep_alive": True, "retry_after": moment}
        seen.append(_try(own_response, status, shape, "c", words, record, **named))
        line = traceparent.line(record.trace, record.span, sampled=rng.random() < 0.5)
        seen.append(repr([line, traceparent.parse(_mutated(rng, line[len("traceparent: ") : -2]))]))
        seen += [
            repr(traceparent.is_sampled(record.trace, None, traceparent.sampling_bound(ratio)))
            for ratio in (0.0, 1e-9, 0.5, 1.0)
        ]
        seen.append(_try(shape_of, rng.choice(messages.PATHS) + words))
    lines.flush()
    seen.append(repr(lines.dropped))
    return seen
