"""Health events: one change of an endpoint's or a service's state, with reason and time.

Out:     what the ledger returns, the admin stream carries, metrics count and the log tells.
Units:   `until` and `now` are monotonic seconds; whoever shows them turns them into wall time.
"""

from __future__ import annotations

from sidecar.frozen import Frozen
from sidecar.terms import EndpointKey


class Ejected(Frozen):
    key: EndpointKey
    reason: str  # consecutive_failures, failure_percentage, probation_failed, retry_after, manual
    failure_percentage: float
    requests: int  # seen in the window
    multiplier: int  # k of this ejection
    until: float | None  # None: until it is restored by hand
    enforced: bool


class Returned(Frozen):
    key: EndpointKey
    reason: str  # ejection_ended, probation_passed, retry_after_ended, manual


class Probation(Frozen):
    key: EndpointKey
    requests: int


class ProbeChanged(Frozen):
    key: EndpointKey
    healthy: bool
    reason: str


class ServiceUnavailable(Frozen):
    service: str
    reason: str


class ServiceRecovered(Frozen):
    service: str


class EndpointAdded(Frozen):
    key: EndpointKey


class EndpointRemoved(Frozen):
    key: EndpointKey


class ScopeCooled(Frozen):
    """A key, a model or a whole service is left alone for a time."""

    service: str
    scope: str  # credential, model, service
    name: str  # never a key's value
    reason: str  # auth, no_credit, rate_limited, model_not_found, overloaded
    until: float
    enforced: bool


class ScopeReturned(Frozen):
    service: str
    scope: str
    name: str


HealthEvent = (
    Ejected
    | Returned
    | Probation
    | ProbeChanged
    | ServiceUnavailable
    | ServiceRecovered
    | EndpointAdded
    | EndpointRemoved
    | ScopeCooled
    | ScopeReturned
)
