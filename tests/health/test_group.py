"""Rules of a service as a whole."""

from __future__ import annotations

from sidecar.frozen import replace
from sidecar.health.endpoint import EndpointHealth, Traffic
from sidecar.health.events import ServiceRecovered, ServiceUnavailable
from sidecar.health.group import Group
from sidecar.policy.snapshot import Service
from tests.health.script import PLAIN, SERVICE, URL, key, service_of


def group_of(names: str, service: Service | None = None) -> Group:
    group = Group(service or service_of(names))
    group.listed = tuple(EndpointHealth(key(name), PLAIN, Traffic(), 0.0) for name in names)
    return group


def test_a_change_is_told_exactly_once() -> None:
    """An alert that repeats itself is switched off by its reader."""
    group = group_of("ab")
    assert group.change(0.0) == []
    for endpoint in group.listed:
        endpoint.put_on_probation(1.0)
    assert group.change(0.0) == [ServiceUnavailable(SERVICE, "probation")]
    assert group.change(0.0) == []
    group.listed[0].bring_back("probation_passed", 2.0, ramp=False)
    assert group.change(0.0) == [ServiceRecovered(SERVICE)]
    assert group.change(0.0) == []


def test_a_service_is_available_while_one_endpoint_is_in_rotation() -> None:
    """One is enough to serve."""
    group = group_of("ab")
    group.listed[0].put_on_probation(1.0)
    assert group.available(0.0)
    assert group.change(0.0) == []


def test_a_service_that_never_had_an_endpoint_is_not_judged() -> None:
    """Its name is still being resolved."""
    group = group_of("")
    assert not group.available(0.0)
    assert group.change(0.0) == []


def test_an_endpoint_does_not_count_against_itself() -> None:
    """What is asked is who would be out beside it."""
    group = group_of("ab", service_of("ab", replace(PLAIN, max_ejection_percent=50.0)))
    first, second = group.listed
    first.put_on_probation(1.0)
    assert group.has_room(first)
    assert not group.has_room(second)


def test_present_endpoints_stay_only_if_the_new_url_resolves_to_the_same() -> None:
    """Written endpoints are named by the policy itself; resolved ones belong to a host and port."""
    resolved, written = group_of("", service_of("")), group_of("a")
    assert not resolved.resolves_elsewhere(service_of("", url=replace(URL, path="/v2")))
    assert resolved.resolves_elsewhere(service_of("", url=replace(URL, port=81)))
    assert written.resolves_elsewhere(service_of(""))
    assert not written.resolves_elsewhere(service_of("b", url=replace(URL, host="other.test")))
