"""Lanes: what all requests have in common that ask for the same path and model in the same way.

In:      a request's head, its model, whether it wants a stream; the policy that runs.
Out:     its Lane: the route, and for each of the route's services a Leg, which writes the head of an attempt as far as
         it is known before the attempt: once for all alike heads, which are one object (see wire.head_cache).
Limits:  LANES of a policy, and as many of a head; when an app invents more models or paths, all are forgotten. One
         whose names are longer than LONGEST together is made anew each time: a model may be as long as a body.
Why:     matching routes and writing heads anew cost as much as all the rest of a small request.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from sidecar.route.ask import Ask
from sidecar.route.candidates import Candidates
from sidecar.route.match import upstream_target
from sidecar.wire.dialect import shape_of
from sidecar.wire.memo import remember
from sidecar.wire.rewrite import upstream_front, wants_length
from sidecar.wire.stainless import patience

if TYPE_CHECKING:
    from sidecar.exchange.keys import Field, Key
    from sidecar.exchange.runtime import RouteRuntime, Runtime, ServiceRuntime
    from sidecar.health.ledger import EndpointHealth
    from sidecar.wire.dialect import Shape
    from sidecar.wire.heads import RequestHead

LANES: Final = 256
LONGEST: Final = 1024  # characters


class Leg:
    """A lane's way to one of its services.

    model          what the service is asked for
    written_model  the same in JSON where it takes the place of the app's, else None
    url            where it goes, as the service is called; without its query, which may bear a key
    """

    __slots__ = (
        "_is_long",
        "_last_credential",
        "_last_front",
        "_last_head",
        "_last_key",
        "_target",
        "model",
        "service",
        "terms",
        "url",
        "written_model",
    )

    def __init__(
        self,
        route: RouteRuntime,
        service: ServiceRuntime,
        head: RequestHead,
        model: str | None,
        shape: Shape,
        *,
        stream: bool,
        is_long: bool,
    ) -> None:
        self.service = service
        self.terms = route.terms(service, head.method, shape, stream=stream)
        other = None if model is None else service.service.model_for(model)
        self.model = model if other is None else other
        self.written_model = None if other is None else json.dumps(other).encode()
        path = upstream_target(route.route, service.service, head.path)
        self._target = path + head.query
        url = service.service.url
        self.url = f"{url.scheme}://{url.authority}{path if path.startswith('/') else ''}"
        self._is_long = is_long
        self._last_head = -1  # its number
        self._last_key: Key | None = None
        self._last_credential: Field | None = None
        self._last_front = b""

    def front(self, head: RequestHead, key: Key | None, credential: Field | None) -> bytes:
        """The head of an attempt but for trace and length. A key may have a new value each time."""
        if (
            self._last_head != head.number
            or self._last_key is not key
            or self._last_credential is not credential  # the same object as long as it is the same
        ):
            self._last_front = self._remembered(head, key, credential)
            self._last_head, self._last_key, self._last_credential = head.number, key, credential
        return self._last_front

    def _remembered(self, head: RequestHead, key: Key | None, credential: Field | None) -> bytes:
        known: tuple[Field | None, bytes] | None = head.memo.get((self, key))
        if known is not None and known[0] == credential:
            return known[1]
        service = self.service
        fields = service.fields(head, credential)
        front = upstream_front(head.method, self._target, service.authority, fields)
        if not self._is_long:
            remember(head.memo, (self, key), (credential, front), LANES)
        return front


class Lane:
    """`counts_empty`: an empty body is told to the service as one of 0 bytes. `candidates` None: they depend on the
    request itself (consistent hash). `is_long`: too much would be kept with it, of what an app writes as it likes."""

    __slots__ = (
        "candidates",
        "counts_empty",
        "is_long",
        "legs",
        "model",
        "patience",
        "route",
        "runtime",
        "shape",
        "shape_name",
        "stream",
    )

    def __init__(
        self,
        runtime: Runtime,
        route: RouteRuntime,
        head: RequestHead,
        model: str | None,
        patience: float | None,
        *,
        stream: bool,
    ) -> None:
        self.runtime = runtime  # the generation it belongs to
        self.route = route
        self.model = model
        self.stream = stream
        self.shape = shape_of(head.path)
        self.shape_name = self.shape.value
        self.patience = patience
        self.counts_empty = wants_length(head.method, counted=head.is_counted)
        names = len(head.method) + len(head.path) + len(head.query) + len(model or "")
        self.is_long = names > LONGEST
        self.legs = tuple(
            Leg(route, service, head, model, self.shape, stream=stream, is_long=self.is_long)
            for service in route.services
        )
        self.candidates: Candidates[EndpointHealth] | None = None
        if not route.hashes:
            self.candidates = Candidates(route.pickers, Ask(model))


def lane_of(runtime: Runtime, head: RequestHead, model: str | None, *, stream: bool) -> Lane | None:
    """None: no route of the policy matches."""
    lane = runtime.last_lane
    if (
        lane is not None
        and runtime.last_head == head.number
        and lane.stream is stream
        and lane.model == model
    ):
        return lane
    lane = _remembered(runtime, head, model, stream=stream)
    if lane is not None and not lane.is_long:
        runtime.last_head, runtime.last_lane = head.number, lane
    return lane


def _remembered(runtime: Runtime, head: RequestHead, model: str | None, *, stream: bool) -> Lane | None:
    key = model, stream
    lane: Lane | None = head.memo.get(key)
    if lane is not None and lane.runtime is runtime:
        return lane
    route = runtime.router.match(head.path, model, head.get)
    if route is None:
        return None
    lane = _lane(runtime, route.name, head, model, stream=stream)
    if not lane.is_long:
        remember(head.memo, key, lane, LANES)
    return lane


def _lane(runtime: Runtime, route: str, head: RequestHead, model: str | None, *, stream: bool) -> Lane:
    """That of all heads which ask for the same in the same way."""
    wait, lanes = patience(head.fields), runtime.lanes
    key = route, head.method, head.path, head.query, head.is_counted, wait, model, stream
    lane = lanes.get(key)
    if lane is None:
        lane = Lane(runtime, runtime.routes[route], head, model, wait, stream=stream)
        if not lane.is_long:
            remember(lanes, key, lane, LANES)
    return lane
