"""The endpoints of one service, taken together: room for one more ejection, and whether it is available.

Out:     ServiceUnavailable and ServiceRecovered, exactly when that changes.
Rule:    a service is available while one endpoint is in rotation; a probation proves nothing yet. Before
         it had its first endpoint there is nothing to judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

from sidecar.health.endpoint import IN_ROTATION, EndpointHealth, Traffic
from sidecar.health.events import (
    HealthEvent,
    ScopeCooled,
    ScopeReturned,
    ServiceRecovered,
    ServiceUnavailable,
)
from sidecar.health.limit import Limit
from sidecar.health.outlier import may_eject
from sidecar.health.pace import Pace
from sidecar.health.scopes import Blame, Scope, Scopes
from sidecar.policy.snapshot import Credential, PassiveHealth, Service
from sidecar.terms import EndpointKey


class Group:
    """One service and its endpoints, in the order they were given."""

    __slots__ = ("_had_endpoint", "_told_available", "listed", "scopes", "service")

    def __init__(self, service: Service) -> None:
        self.service = service
        self.scopes = Scopes()
        self.scopes.adopt(_keys_of(service), frozenset())
        self.listed: tuple[EndpointHealth, ...] = ()
        self._had_endpoint = False
        self._told_available = True

    @property
    def policy(self) -> PassiveHealth:
        return self.service.passive_health

    def available(self, now: float) -> bool:
        if self.scopes and self.scopes.closed(self.service.name, None, now) is not None:
            return False
        return any(endpoint.state in IN_ROTATION for endpoint in self.listed)

    def blame(self, blame: Blame, now: float) -> list[HealthEvent]:
        """A scope of it is to be left alone; told, and done if the policy is enforced."""
        policy = self.policy
        cooling = self.scopes.cool(blame, policy.max_ejection_time, now, enforced=policy.enforce)
        if cooling is None:
            return []
        kind, name = blame.scope
        cooled = ScopeCooled(self.service.name, kind, name, *cooling)
        return [*self._returned(self.scopes.make_room()), cooled]

    def end_cooling(self, now: float) -> list[HealthEvent]:
        return self._returned(self.scopes.over(now))

    def adopt_scopes(self, was: Service) -> list[HealthEvent]:
        """Under the present policy: what was said about keys that are gone or changed says nothing any more, and where
        enforcement or the vendor is another nothing does."""
        kept = set(_names(self.service)) & set(_names(was))
        same = frozenset(scope for _, scope in kept)
        events = self._returned(self.scopes.adopt(_keys_of(self.service), same))
        enforces, enforced = self.service.passive_health.enforce, was.passive_health.enforce
        if enforces is not enforced or _origin(self.service) != _origin(was):
            events += self.drop_cooling()
        return events

    def drop_cooling(self) -> list[HealthEvent]:
        """What was said of scopes so far does not count any more."""
        return self._returned(self.scopes.forget_all())

    def _returned(self, scopes: Sequence[Scope]) -> list[HealthEvent]:
        return [ScopeReturned(self.service.name, *scope) for scope in scopes]

    def has_room(self, endpoint: EndpointHealth) -> bool:
        """Whether the share limit lets this one leave too."""
        out = sum(other.is_out for other in self.listed if other is not endpoint)
        return may_eject(out, len(self.listed), self.policy.max_ejection_percent)

    def new_endpoint(self, key: EndpointKey, traffic: Traffic, rng: Random, now: float) -> EndpointHealth:
        """Under the service's policy; not listed yet."""
        made = EndpointHealth(key, self.policy, traffic, now, self.limit_for(None, rng))
        made.pace = self.pace_for(None)
        return made

    def pace_for(self, present: Pace | None) -> Pace | None:
        """What is known of an endpoint's pace, where the service picks by it."""
        if self.service.load_balancing != "peak_ewma":
            return None
        return Pace() if present is None else present

    def limit_for(self, present: Limit | None, rng: Random) -> Limit | None:
        """The limit of an endpoint under the service's policy; one that it has goes on with what it learned."""
        wanted, timeouts = self.service.adaptive_concurrency, self.service.timeouts
        timeout = timeouts.first_packet_soft or timeouts.first_packet
        if wanted is None:
            return None
        if present is None:
            return Limit(timeout, rng, cancels=wanted.cancels)
        present.timeout, present.cancels = timeout, wanted.cancels
        return present

    def change(self, now: float) -> list[HealthEvent]:
        """What changed for the service as a whole since it was last asked."""
        available = self.available(now)
        self._had_endpoint = self._had_endpoint or bool(self.listed)
        if available is self._told_available or not self._had_endpoint:
            return []
        self._told_available = available
        if available:
            return [ServiceRecovered(self.service.name)]
        closed = self.scopes.closed(self.service.name, None, now)
        if closed is not None:
            return [ServiceUnavailable(self.service.name, closed.reason)]
        why = ", ".join(sorted({endpoint.why() for endpoint in self.listed}))
        return [ServiceUnavailable(self.service.name, why or "no_endpoint")]

    def resolves_elsewhere(self, service: Service) -> bool:
        """Whether the present endpoints may not be those that the url of the new `service` resolves to."""
        old, new = self.service.url, service.url
        return not service.endpoints and (
            bool(self.service.endpoints) or (old.host, old.port) != (new.host, new.port)
        )


def _keys_of(service: Service) -> tuple[Scope, ...]:
    return tuple(Scope("credential", name) for name in service.credential_names())


def _names(service: Service) -> Iterable[tuple[Credential, Scope]]:
    """A literal is named by its place, so a name alone does not say which key it is."""
    return zip(service.credentials, _keys_of(service), strict=True)


def _origin(service: Service) -> tuple[str, str, int]:
    """Whom the url names."""
    return service.url.scheme, service.url.host, service.url.port
