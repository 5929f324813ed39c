"""The endpoints of one service, taken together: room for one more ejection, and whether it is available.

Out:     ServiceUnavailable and ServiceRecovered, exactly when that changes.
Rule:    a service is available while one endpoint is in rotation; a probation proves nothing yet. Before
         it had its first endpoint there is nothing to judge.
"""

from __future__ import annotations

from random import Random

from sidecar.health.endpoint import IN_ROTATION, EndpointHealth, Traffic
from sidecar.health.events import HealthEvent, ServiceRecovered, ServiceUnavailable
from sidecar.health.limit import Limit
from sidecar.health.outlier import may_eject
from sidecar.policy.snapshot import PassiveHealth, Service
from sidecar.terms import EndpointKey


class Group:
    """One service and its endpoints, in the order they were given."""

    __slots__ = ("_had_endpoint", "_told_available", "listed", "service")

    def __init__(self, service: Service) -> None:
        self.service = service
        self.listed: tuple[EndpointHealth, ...] = ()
        self._had_endpoint = False
        self._told_available = True

    @property
    def policy(self) -> PassiveHealth:
        return self.service.passive_health

    @property
    def available(self) -> bool:
        return any(endpoint.state in IN_ROTATION for endpoint in self.listed)

    def has_room(self, endpoint: EndpointHealth) -> bool:
        """Whether the share limit lets this one leave too."""
        out = sum(other.is_out for other in self.listed if other is not endpoint)
        return may_eject(out, len(self.listed), self.policy.max_ejection_percent)

    def new_endpoint(self, key: EndpointKey, traffic: Traffic, rng: Random, now: float) -> EndpointHealth:
        """Under the service's policy; not listed yet."""
        return EndpointHealth(key, self.policy, traffic, now, self.limit_for(None, rng))

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

    def change(self) -> list[HealthEvent]:
        """What changed for the service as a whole since it was last asked."""
        available = self.available
        self._had_endpoint = self._had_endpoint or bool(self.listed)
        if available is self._told_available or not self._had_endpoint:
            return []
        self._told_available = available
        if available:
            return [ServiceRecovered(self.service.name)]
        why = ", ".join(sorted({endpoint.why() for endpoint in self.listed}))
        return [ServiceUnavailable(self.service.name, why or "no_endpoint")]

    def resolves_elsewhere(self, service: Service) -> bool:
        """Whether the present endpoints may not be those that the url of the new `service` resolves to."""
        old, new = self.service.url, service.url
        return not service.endpoints and (
            bool(self.service.endpoints) or (old.host, old.port) != (new.host, new.port)
        )
