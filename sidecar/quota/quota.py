"""The rate limits of one route or one service: a bucket for each consumer that `by` tells apart.

In:      Who asks, how many tokens its prompt is estimated at, `now`.
Out:     Taken, to be settled when the true number of tokens is known; or Wait.
Rules:   a request is let in by all of its limits or takes nothing of any.
         An API key or a header's value is never kept, only a short hash of it.
Limits:  MOST consumers a limit. Of the OLDEST, who have not asked for longest, those whose buckets are full are
         forgotten first, which loses nothing; then others of them, which forgives them what they had used.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from sidecar.digest import blake2b
from sidecar.policy.snapshot import RateLimit
from sidecar.quota.bucket import Bucket

MOST = 10_000
OLDEST = 200  # are looked at together, for a fifth of a millisecond: every other request waits for it
ROOM = 100  # is made by that at least, so that a newcomer costs two looks
API_KEY_FIELDS = (b"authorization", b"x-api-key", b"api-key")


class Who(NamedTuple):
    """What limits may tell apart. `uid` is of the peer on a Unix socket, `tcp` elsewhere; asked only when needed."""

    model: str | None
    header: Callable[[bytes], bytes | None]
    uid: Callable[[], str]


class Standing(NamedTuple):
    """The tightest bucket of its kind, just after a request took its part or was refused."""

    limit: float
    remaining: float
    reset: float  # seconds until it is full


class Wait(NamedTuple):
    """Refused: nothing was taken."""

    seconds: float
    requests: Standing | None
    tokens: Standing | None


class Taken:
    """What one request took."""

    __slots__ = ("_estimate", "_tokens", "requests", "tokens")

    def __init__(
        self, buckets: list[Bucket], estimate: int, requests: Standing | None, tokens: Standing | None
    ) -> None:
        self._tokens = buckets
        self._estimate = estimate
        self.requests = requests
        self.tokens = tokens

    def settle(self, used: int, now: float) -> None:
        """So many tokens it really was; further calls do nothing."""
        for bucket in self._tokens:
            bucket.take(used - self._estimate, now)
        self._tokens = []


class _Limit:
    """One rate limit and its consumers."""

    __slots__ = ("_by", "consumers", "policy")

    def __init__(self, policy: RateLimit) -> None:
        self.policy = policy
        self._by = policy.by
        self.consumers: dict[bytes, tuple[Bucket | None, Bucket | None]] = {}

    def buckets(self, who: Who, now: float) -> tuple[Bucket | None, Bucket | None]:
        """Of requests and of tokens."""
        name = _name(self._by, who) if self._by else b""
        consumers = self.consumers
        found = consumers.pop(name, None)
        if found is None:
            if len(consumers) >= MOST:
                self._make_room(now)
            found = self._bucket(self.policy.requests, now), self._bucket(self.policy.tokens, now)
        consumers[name] = found  # the last in the order is the newest
        return found

    def _bucket(self, size: int | None, now: float) -> Bucket | None:
        return None if size is None else Bucket(size, self.policy.per, now)

    def _make_room(self, now: float) -> None:
        for name, pair in list(islice(self.consumers.items(), OLDEST)):
            if all(bucket is None or bucket.is_full(now) for bucket in pair):
                del self.consumers[name]
        while len(self.consumers) > MOST - ROOM:
            del self.consumers[next(iter(self.consumers))]


class Quota:
    """All limits of one route or service."""

    __slots__ = ("_limits",)

    def __init__(self, limits: tuple[RateLimit, ...]) -> None:
        self._limits = tuple(_Limit(limit) for limit in limits)

    def take_over(self, old: Quota) -> None:
        """Goes on, under another policy, with what was counted by those of its limits that were there before."""
        there = list(old._limits)
        for limit in self._limits:
            same = next((one for one in there if one.policy == limit.policy), None)
            if same is not None:
                there.remove(same)
                limit.consumers = same.consumers

    def ask(self, who: Who, estimate: int, now: float) -> Taken | Wait:
        """Takes one request and so many tokens of every limit, or nothing."""
        pairs = [limit.buckets(who, now) for limit in self._limits]
        seconds = _wait(pairs, estimate, now)
        if seconds > 0.0:
            return Wait(seconds, *_standings(pairs, now))
        return self._take(pairs, estimate, now)

    def take(self, who: Who, estimate: int, now: float) -> Taken:
        """The same without asking."""
        return self._take([limit.buckets(who, now) for limit in self._limits], estimate, now)

    def wait(self, who: Who, now: float) -> float:
        """Seconds until the smallest request would be let in; 0: now."""
        return _wait([limit.buckets(who, now) for limit in self._limits], 1, now)

    def _take(self, pairs: list[tuple[Bucket | None, Bucket | None]], estimate: int, now: float) -> Taken:
        for requests, tokens in pairs:
            if requests is not None:
                requests.take(1, now)
            if tokens is not None:
                tokens.take(estimate, now)
        of_tokens = [tokens for _, tokens in pairs if tokens is not None]
        return Taken(of_tokens, estimate, *_standings(pairs, now))


def _wait(pairs: list[tuple[Bucket | None, Bucket | None]], estimate: int, now: float) -> float:
    longest = 0.0
    for requests, tokens in pairs:
        if requests is not None:
            longest = max(longest, requests.wait(1, now))
        if tokens is not None:
            longest = max(longest, tokens.wait(estimate, now))
    return longest


def _standings(
    pairs: list[tuple[Bucket | None, Bucket | None]], now: float
) -> tuple[Standing | None, Standing | None]:
    return (
        _tightest([requests for requests, _ in pairs if requests is not None], now),
        _tightest([tokens for _, tokens in pairs if tokens is not None], now),
    )


def _tightest(buckets: list[Bucket], now: float) -> Standing | None:
    if not buckets:
        return None
    bucket = min(buckets, key=lambda one: one.level(now) / one.size)
    return Standing(bucket.size, max(0.0, bucket.level(now)), bucket.reset(now))


def _name(by: tuple[str, ...], who: Who) -> bytes:
    """A consumer, short and unreadable."""
    digest = blake2b(digest_size=16)
    for word in by:
        value = _value(word, who)
        digest.update(b"%d:" % len(value))
        digest.update(value)
    return digest.digest()


def _value(word: str, who: Who) -> bytes:
    if word == "model":
        return (who.model or "").encode("utf-8", "replace")
    if word == "uid":
        return who.uid().encode()
    if word == "api_key":
        return next((value for name in API_KEY_FIELDS if (value := who.header(name))), b"")
    return who.header(word.removeprefix("header:").encode()) or b""
