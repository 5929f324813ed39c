"""Scopes wider or narrower than an endpoint: the key that a service was asked with, a model of it, all of it.

In:      failures of attempts, with the key and the model that were sent; successes; `now`.
Out:     what is cooling, until when and why. A scope that is cooling is not asked.
Units:   monotonic seconds.
Rules:   - credential, of keys that the sidecar supplies: refused (401) or without credit (402, a 429 that says so)
           for a minute, twice as long each time, at most ten; a 429 for its Retry-After, or else for a second that
           doubles up to a minute. An answer that succeeds with it forgets the past. A 403 says nothing about the key
           as such: it may lack one model, or a firewall may not like one prompt.
         - model: a 404 that says the model is not there, for a minute.
         - service: a 529 or an event that says the same for its Retry-After, or else for 5 seconds that double up to
           a minute; any success forgets the past.
         No wish is granted beyond `max_ejection_time`. One that moves the end by less than a second changes nothing.
Limits:  MOST models a service; the one that is back first makes room. A name that is longer than LONGEST_NAME is
         forgotten at once: an app may make up any, and it would stand in every snapshot.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sidecar.choice import Skipped
from sidecar.failure import Failure, FailureKind

MINUTE: Final = 60.0
MOST: Final = 100
LONGEST_NAME: Final = 256
LEAST_EXTENSION: Final = 1.0


class Scope(NamedTuple):
    kind: str  # credential, model, service
    name: str  # of the key (its source, never its value), of the model, of the service


class Blame(NamedTuple):
    """What a failure says about a scope; `first` and `longest` are seconds, for one that names no time itself."""

    scope: Scope
    reason: str  # auth, no_credit, rate_limited, model_not_found, overloaded
    first: float
    longest: float
    asked: float | None


class Cooling(NamedTuple):
    reason: str
    until: float
    enforced: bool = True  # else it only would be left alone

    def skipped(self) -> Skipped:
        """What it means to a request that nothing may be sent."""
        return Skipped("rate_limited" if self.reason == "rate_limited" else "cooling", self.until)


def blame_of(failure: Failure, service: str, credential: str | None, model: str | None) -> Blame | None:
    """The scope that a failure is about; None: the endpoint, or nobody. `credential`: the sidecar's own key, if any."""
    if failure.kind is FailureKind.MODEL_NOT_FOUND and model is not None:
        if len(model) > LONGEST_NAME:
            return None
        return Blame(Scope("model", model), "model_not_found", MINUTE, MINUTE, None)
    if failure.service_wide or failure.status == 529:
        return Blame(Scope("service", service), "overloaded", 5.0, MINUTE, failure.retry_after)
    if credential is None:
        return None
    key = Scope("credential", credential)
    if failure.kind is FailureKind.AUTH:
        if failure.status == 403:
            return None
        reason = "no_credit" if failure.status in (402, 429) else "auth"
        return Blame(key, reason, MINUTE, 10 * MINUTE, None)
    if failure.kind is FailureKind.STATUS and failure.status == 429:
        return Blame(key, "rate_limited", 1.0, MINUTE, failure.retry_after)
    return None


class Scopes:
    """Those of one service."""

    __slots__ = ("_cooling", "_strikes", "keys")

    def __init__(self) -> None:
        self.keys: tuple[Scope, ...] = ()  # of the present policy
        self._cooling: dict[Scope, Cooling] = {}
        self._strikes: dict[Scope, int] = {}

    def __bool__(self) -> bool:
        """Whether there is anything to forget or to ask about."""
        return bool(self._cooling or self._strikes)

    def cool(self, blame: Blame, longest: float, now: float, *, enforced: bool = True) -> Cooling | None:
        """None: it is cooling, or would be, for about as long already."""
        scope = blame.scope
        strikes = self._strikes.get(scope, 0)
        present = self._cooling.get(scope)
        if present is not None and present.until > now:  # requests that failed together are one strike
            strikes = max(0, strikes - 1)
        length = blame.asked or min(blame.first * 2.0**strikes, blame.longest)
        cooling = Cooling(blame.reason, now + min(length, longest), enforced)
        if present is not None and cooling.until < present.until + LEAST_EXTENSION:
            return None
        if scope.kind != "model":
            self._strikes[scope] = min(strikes + 1, 10)
        self._cooling[scope] = cooling
        return cooling

    def succeeded(self, credential: str | None) -> None:
        """An attempt with this key ended well."""
        for scope in [s for s in self._strikes if s.kind == "service" or s.name == credential]:
            del self._strikes[scope]

    def cooling(self, scope: Scope, now: float) -> Cooling | None:
        found = self._cooling.get(scope)
        return found if found is not None and found.enforced and found.until > now else None

    def closed(self, service: str, model: str | None, now: float) -> Cooling | None:
        """Why nothing may be sent to the service for this model, and until when."""
        if not self._cooling:
            return None
        whole = self.cooling(Scope("service", service), now)
        if whole is not None:
            return whole
        if model is not None and (missing := self.cooling(Scope("model", model), now)) is not None:
            return missing
        return self.all_keys(now)

    def all_keys(self, now: float) -> Cooling | None:
        """The key that is back first, if all are cooling."""
        found = [self.cooling(key, now) for key in self.keys]
        cooling = [one for one in found if one is not None]
        if not found or len(cooling) < len(found):
            return None
        return min(cooling, key=lambda one: one.until)

    def forget(self, scope: Scope) -> bool:
        """It is new again; returns whether it was left alone."""
        self._strikes.pop(scope, None)
        found = self._cooling.pop(scope, None)
        return found is not None and found.enforced

    def forget_all(self) -> list[Scope]:
        """All are new again; returns those that were left alone."""
        return [scope for scope in sorted({*self._cooling, *self._strikes}) if self.forget(scope)]

    def over(self, now: float) -> list[Scope]:
        """Those whose time has come; they cool no more."""
        ended = [(scope, cooling) for scope, cooling in self._cooling.items() if cooling.until <= now]
        for scope, _ in ended:
            del self._cooling[scope]
        return [scope for scope, cooling in ended if cooling.enforced]

    def adopt(self, keys: tuple[Scope, ...], same: frozenset[Scope]) -> list[Scope]:
        """Another policy has these keys, `same` as before under the same name; returns what cools no more by that."""
        self.keys = keys
        gone = [s for s in {*self._cooling, *self._strikes} if s.kind == "credential" and s not in same]
        return sorted(scope for scope in gone if self.forget(scope))

    def items(self) -> list[tuple[Scope, Cooling]]:
        return list(self._cooling.items())

    def deadline(self) -> float | None:
        return min((cooling.until for cooling in self._cooling.values()), default=None)

    def make_room(self) -> list[Scope]:
        """Of too many models the one that is back first is forgotten; returned if it was left alone."""
        models = [scope for scope in self._cooling if scope.kind == "model"]
        if len(models) <= MOST:
            return []
        first = min(models, key=lambda scope: self._cooling[scope].until)
        return [first] if self.forget(first) else []
