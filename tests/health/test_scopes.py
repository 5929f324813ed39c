"""Keys, models and whole services that want to be left alone: whom a failure is about, and for how long."""

from __future__ import annotations

from random import Random

import pytest

from sidecar.failure import Failure, FailureKind
from sidecar.frozen import replace
from sidecar.health.events import (
    EndpointRemoved,
    ScopeCooled,
    ScopeReturned,
    ServiceRecovered,
    ServiceUnavailable,
)
from sidecar.health.ledger import Ledger
from sidecar.health.scopes import Blame, Scope, Scopes, blame_of
from sidecar.policy.snapshot import Credential, PassiveHealth, Secret, Service, Url
from sidecar.terms import EndpointKey, TcpAddress

A, B = Scope("credential", "env A"), Scope("credential", "env B")
LONGEST = 300.0


def status(number: int, retry_after: float | None = None) -> Failure:
    return Failure(FailureKind.STATUS, number, retry_after)


def of(failure: Failure, credential: str | None = "env A") -> tuple[str, str, str] | None:
    blame = blame_of(failure, "vendor", credential, "gpt-x")
    return None if blame is None else (blame.scope.kind, blame.scope.name, blame.reason)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Failure(FailureKind.AUTH, 401), ("credential", "env A", "auth")),
        (Failure(FailureKind.AUTH, 403), None),
        (Failure(FailureKind.AUTH, 402), ("credential", "env A", "no_credit")),
        (status(429), ("credential", "env A", "rate_limited")),
        (Failure(FailureKind.MODEL_NOT_FOUND, 404), ("model", "gpt-x", "model_not_found")),
        (status(529), ("service", "vendor", "overloaded")),
        (Failure(FailureKind.IN_STREAM_ERROR, service_wide=True), ("service", "vendor", "overloaded")),
        (status(503, 5.0), None),
        (Failure(FailureKind.FIRST_PACKET_TIMEOUT), None),
        (Failure(FailureKind.IN_STREAM_ERROR), None),
        (Failure(FailureKind.CONNECT_FAILURE), None),
    ],
)
def test_each_failure_is_about_one_scope(failure: Failure, expected: tuple[str, str, str] | None) -> None:
    """None of them: it is the endpoint's, as ever."""
    assert of(failure) == expected


def test_without_a_key_of_the_sidecars_own_a_429_is_the_endpoints() -> None:
    """The key is the app's, and it may have others."""
    assert of(status(429, 3.0), credential=None) is None


def test_a_name_of_any_length_is_not_kept() -> None:
    """An app may name a model of 16 MiB, and a hundred of them; each would stand in every snapshot of a watcher."""
    missing = Failure(FailureKind.MODEL_NOT_FOUND, 404)
    assert blame_of(missing, "vendor", "env A", "m" * 256) is not None
    assert blame_of(missing, "vendor", "env A", "m" * 257) is None


def cool(scopes: Scopes, failure: Failure, now: float, credential: str = "env A") -> float | None:
    """Until when, for a failure at `now`."""
    blame = blame_of(failure, "vendor", credential, "gpt-x")
    assert blame is not None
    cooling = scopes.cool(blame, LONGEST, now)
    return None if cooling is None else cooling.until


def test_a_wish_is_granted_up_to_the_longest_ejection() -> None:
    """A typing error of a vendor must not take it away for a day."""
    assert cool(Scopes(), status(429, 20.0), 100.0) == 120.0
    assert cool(Scopes(), status(429, 86_400.0), 100.0) == 100.0 + LONGEST


def test_without_a_wish_the_time_doubles_until_a_success() -> None:
    """Nobody has said when; asking once in a while finds out."""
    scopes, now = Scopes(), 0.0
    for length in (1.0, 2.0, 4.0, 8.0):
        assert cool(scopes, status(429), now) == now + length
        now += length
        assert scopes.over(now) == [A]
    scopes.succeeded("env A")
    assert cool(scopes, status(429), now) == now + 1.0


def test_requests_that_failed_together_are_one_strike() -> None:
    """Twenty in flight hear the same 429."""
    scopes = Scopes()
    assert cool(scopes, status(529), 0.0) == 5.0
    assert [cool(scopes, status(529), 0.1 + tenth / 10) for tenth in range(9)] == [None] * 9
    scopes.over(100.0)
    assert cool(scopes, status(529), 100.0) == 110.0


def test_one_that_failed_much_later_renews_the_time_but_is_no_second_strike() -> None:
    """It began before the first was refused."""
    scopes = Scopes()
    assert cool(scopes, status(529), 0.0) == 5.0
    assert cool(scopes, status(529), 3.0) == 8.0
    scopes.over(8.0)
    assert cool(scopes, status(529), 8.0) == 18.0


def test_a_wish_that_moves_the_end_by_less_than_a_second_changes_nothing() -> None:
    """Or every refusal of a burst would be an event."""
    scopes = Scopes()
    assert cool(scopes, status(429, 10.0), 0.0) == 10.0
    assert cool(scopes, status(429, 10.0), 0.5) is None
    assert cool(scopes, status(429, 20.0), 0.5) == 20.5


def test_a_service_is_closed_when_all_its_keys_are() -> None:
    """One key that may be used is enough."""
    scopes = Scopes()
    scopes.adopt((A, B), frozenset())
    cool(scopes, status(429, 10.0), 0.0, "env A")
    assert scopes.closed("vendor", None, 1.0) is None
    cool(scopes, status(429, 5.0), 0.0, "env B")
    closed = scopes.closed("vendor", None, 1.0)
    assert closed is not None
    assert closed.until == 5.0
    assert scopes.closed("vendor", None, 6.0) is None


def test_a_missing_model_closes_the_service_for_it_alone() -> None:
    """Other models of it answer."""
    scopes = Scopes()
    cool(scopes, Failure(FailureKind.MODEL_NOT_FOUND, 404), 0.0)
    assert scopes.closed("vendor", "gpt-x", 1.0) is not None
    assert scopes.closed("vendor", "gpt-y", 1.0) is None
    assert scopes.closed("vendor", None, 1.0) is None
    assert scopes.closed("vendor", "gpt-x", 60.0) is None


def test_models_that_apps_invent_are_bounded() -> None:
    """An app may ask for anything."""
    scopes = Scopes()
    for number in range(1000):
        blame = Blame(Scope("model", f"m{number}"), "model_not_found", 60.0, 60.0, None)
        assert scopes.cool(blame, LONGEST, float(number)) is not None
        assert scopes.make_room() == ([Scope("model", f"m{number - 100}")] if number >= 100 else [])
    assert len(scopes.items()) <= 100
    assert scopes.cooling(Scope("model", "m999"), 999.0) is not None


# In the ledger

KEY = Credential("authorization", "Bearer ", Secret(env="A"))
OTHER = Credential("authorization", "Bearer ", Secret(env="B"))


def service(*credentials: Credential, enforce: bool = True) -> Service:
    return Service(
        "vendor",
        Url("http", "v", 80, "/v1", "v"),
        endpoints=(TcpAddress("10.0.0.1", 80),),
        credentials=credentials,
        passive_health=PassiveHealth(enforce=enforce),
    )


def ledger_of(one: Service) -> Ledger:
    ledger = Ledger(Random(0))
    ledger.configure({"vendor": one}, 0.0)
    return ledger


def blamed(ledger: Ledger, failure: Failure, now: float, key: str = "env A") -> list[object]:
    blame = blame_of(failure, "vendor", key, "gpt-x")
    assert blame is not None
    return list(ledger.blame("vendor", blame, now))


def test_a_whole_service_that_cools_is_unavailable_and_recovers_by_itself() -> None:
    """Whoever watches sees why everything went elsewhere, and when it ends."""
    ledger = ledger_of(service(KEY))
    assert blamed(ledger, status(529, 7.0), 1.0) == [
        ScopeCooled("vendor", "service", "vendor", "overloaded", 8.0, True),
        ServiceUnavailable("vendor", "overloaded"),
    ]
    assert not ledger.service_available("vendor", 2.0)
    assert ledger.next_deadline() == 8.0
    assert ledger.advance(8.0) == [ScopeReturned("vendor", "service", "vendor"), ServiceRecovered("vendor")]
    assert ledger.next_deadline() is None


def test_one_key_of_two_leaves_the_service_available() -> None:
    ledger = ledger_of(service(KEY, OTHER))
    assert blamed(ledger, status(429, 7.0), 1.0) == [
        ScopeCooled("vendor", "credential", "env A", "rate_limited", 8.0, True)
    ]
    assert ledger.service_available("vendor", 2.0)
    assert blamed(ledger, status(429, 9.0), 1.0, "env B")[1:] == [
        ServiceUnavailable("vendor", "rate_limited")
    ]


def test_where_nothing_is_enforced_it_is_only_told() -> None:
    """An operator may look before he trusts."""
    ledger = ledger_of(service(KEY, enforce=False))
    assert blamed(ledger, status(429, 7.0), 1.0) == [
        ScopeCooled("vendor", "credential", "env A", "rate_limited", 8.0, False)
    ]
    assert ledger.scopes("vendor").closed("vendor", None, 2.0) is None
    assert ledger.cooling() == []


def test_where_nothing_is_enforced_it_is_told_once_for_the_time_it_would_take() -> None:
    """The key is used on, and refused with every request: one event a request would bury all others."""
    ledger = ledger_of(service(KEY, enforce=False))
    told = [
        event for tenth in range(70) for event in blamed(ledger, status(429, 7.0 - tenth / 10), tenth / 10)
    ]
    assert len(told) == 1
    assert ledger.advance(7.0) == []
    assert len(blamed(ledger, status(429, 7.0), 7.5)) == 1


@pytest.mark.parametrize("enforce", [False, True])
def test_when_enforcement_changes_what_was_said_of_scopes_is_dropped(enforce: bool) -> None:
    """As with ejections: what was decided under the other setting counts no more."""
    ledger = ledger_of(service(KEY, enforce=not enforce))
    blamed(ledger, Failure(FailureKind.AUTH, 401), 1.0)
    events = ledger.configure({"vendor": service(KEY, enforce=enforce)}, 2.0)
    returned = [ScopeReturned("vendor", "credential", "env A"), ServiceRecovered("vendor")]
    assert events == ([] if enforce else returned)
    assert ledger.scopes("vendor").closed("vendor", None, 3.0) is None


def test_a_policy_keeps_what_is_said_of_keys_that_stay_and_drops_the_rest() -> None:
    """A new key has done nothing yet."""
    ledger = ledger_of(service(KEY, OTHER))
    blamed(ledger, status(429, 50.0), 1.0, "env A")
    blamed(ledger, status(429, 50.0), 1.0, "env B")
    assert ledger.configure({"vendor": service(KEY)}, 2.0) == [ScopeReturned("vendor", "credential", "env B")]
    assert ledger.scopes("vendor").closed("vendor", None, 3.0) is not None
    events = ledger.configure({"vendor": service(OTHER)}, 3.0)
    assert events == [ScopeReturned("vendor", "credential", "env A"), ServiceRecovered("vendor")]


def test_another_literal_in_the_same_place_is_another_key() -> None:
    """They share a name, since their values may not be shown."""
    old, new = (Credential("authorization", "Bearer ", Secret(literal=text)) for text in ("old", "new"))
    ledger = ledger_of(service(old))
    blamed(ledger, Failure(FailureKind.AUTH, 401), 1.0, "literal 1")
    ledger.configure({"vendor": service(new)}, 2.0)
    assert ledger.scopes("vendor").closed("vendor", None, 3.0) is None


def test_literals_that_change_places_are_other_keys_each() -> None:
    """Else the good one would be left alone for what the bad one was."""
    bad, good = (Credential("authorization", "Bearer ", Secret(literal=text)) for text in ("bad", "good"))
    ledger = ledger_of(service(bad, good))
    blamed(ledger, Failure(FailureKind.AUTH, 401), 1.0, "literal 1")
    events = ledger.configure({"vendor": service(good, bad)}, 2.0)
    assert events == [ScopeReturned("vendor", "credential", "literal 1")]


@pytest.mark.parametrize("failure", [status(529), status(429), Failure(FailureKind.MODEL_NOT_FOUND, 404)])
def test_what_one_vendor_said_says_nothing_about_another(failure: Failure) -> None:
    """The name of a service is the operator's; who answers is in its url."""
    ledger = ledger_of(service(KEY))
    blamed(ledger, failure, 1.0)
    moved = replace(service(KEY), url=Url("http", "w", 80, "/v1", "w"))
    events = ledger.configure({"vendor": moved}, 1.5)
    assert isinstance(events[0], ScopeReturned)
    assert ledger.scopes("vendor").closed("vendor", "gpt-x", 1.6) is None


def test_another_path_is_the_same_vendor() -> None:
    """Where its key is known to be refused."""
    ledger = ledger_of(service(KEY))
    blamed(ledger, Failure(FailureKind.AUTH, 401), 1.0)
    moved = replace(service(KEY), url=Url("http", "v", 80, "/v2", "v"))
    assert ledger.configure({"vendor": moved}, 1.5) == []


def test_whoever_follows_the_events_knows_what_cools_also_when_a_service_goes() -> None:
    """A snapshot and all events behind it are the state."""
    ledger = ledger_of(service(KEY))
    blamed(ledger, status(529), 1.0)
    assert ledger.configure({}, 2.0) == [
        ScopeReturned("vendor", "service", "vendor"),
        EndpointRemoved(EndpointKey("vendor", "10.0.0.1:80")),
    ]


def test_a_model_that_makes_room_for_another_is_told() -> None:
    ledger = ledger_of(service(KEY))
    for number in range(100):
        ledger.blame("vendor", Blame(Scope("model", f"m{number}"), "x", 60.0, 60.0, None), float(number) / 10)
    assert ledger.blame("vendor", Blame(Scope("model", "new"), "x", 60.0, 60.0, None), 20.0) == [
        ScopeReturned("vendor", "model", "m0"),
        ScopeCooled("vendor", "model", "new", "x", 80.0, True),
    ]


def test_a_restored_endpoint_is_not_kept_out_by_what_its_service_said() -> None:
    """An operator who puts it back wants it used."""
    ledger = ledger_of(service(KEY))
    blamed(ledger, Failure(FailureKind.AUTH, 401), 1.0)
    assert ledger.restore(EndpointKey("vendor", "10.0.0.1:80"), 2.0) == [
        ScopeReturned("vendor", "credential", "env A"),
        ServiceRecovered("vendor"),
    ]


def test_what_cools_is_in_the_list_that_a_snapshot_shows() -> None:
    """A watcher who joins later must not miss it."""
    ledger = ledger_of(service(KEY, OTHER))
    blamed(ledger, status(429, 7.0), 1.0)
    assert ledger.cooling() == [ScopeCooled("vendor", "credential", "env A", "rate_limited", 8.0, True)]
    ledger.advance(8.0)
    assert ledger.cooling() == []
