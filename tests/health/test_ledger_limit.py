"""Rules of the ledger for endpoints with an adaptive limit."""

from __future__ import annotations

from sidecar.failure import Verdict
from sidecar.frozen import replace
from sidecar.policy.snapshot import AdaptiveConcurrency, PassiveHealth, Service, Timeouts
from tests.health.script import Script, ends, is_restored, policy_is, service_of, starts

ON = AdaptiveConcurrency()


def limited(names: str = "a", **passive: float) -> Service:
    service = service_of(names, PassiveHealth(**passive)) if passive else service_of(names)  # type: ignore[arg-type]
    return replace(service, adaptive_concurrency=ON, timeouts=Timeouts(first_packet=0.2))


def is_late(script: Script, name: str = "a") -> None:
    """One attempt whose first packet does not come, from 0.2 s ago until now."""
    endpoint, began = script.endpoint(name), script.now - 0.2
    era = script.ledger.started(endpoint, began)
    script.ledger.late(endpoint, began, script.now)
    script.ledger.finished(endpoint, Verdict.IGNORABLE, script.now, None, era, began=began, cut=True)


def limit_of(script: Script, name: str = "a") -> float | None:
    return script.status(name).concurrency_limit


def test_only_a_service_that_says_so_has_a_limit() -> None:
    """It is the policy that knows whether there is somewhere else to go."""
    script = Script(service_of("a"), start=1.0)
    is_late(script)
    assert limit_of(script) is None
    assert script.available("a")


def test_lateness_closes_an_endpoint_without_ejecting_it() -> None:
    """Overload is answered by sending less."""
    script = Script(limited("ab"), start=1.0)
    is_late(script)
    assert (script.available("a"), script.available("b")) == (False, True)
    assert script.endpoint("a").overloaded(1.0)
    assert script.states() == {"a": "available", "b": "available"}
    assert script.ledger.service_available("llm", 1.0)
    assert script.endpoint("a").due_back(1.0) == 1.0


def test_an_ejected_endpoint_is_ill_and_not_overloaded() -> None:
    """The first reason to leave it alone is the one to tell."""
    script = Script(limited(), start=1.0)
    is_late(script)
    script.ledger.eject(script.endpoint("a").key, 30.0, 1.0)
    assert not script.endpoint("a").overloaded(1.0)


def test_a_first_packet_in_time_proves_what_is_in_flight() -> None:
    """The ledger knows how much that is."""
    script = Script(limited(), start=1.0)
    endpoint = script.endpoint("a")
    for _ in range(12):
        script.ledger.started(endpoint, 1.0)
    script.ledger.on_time(endpoint, 1.0, 1.1)
    assert limit_of(script) == 24.0


def test_a_job_without_streams_is_not_held_at_the_first_limit_for_ever() -> None:
    """Fifty at a time, two seconds each: what is over the limit goes elsewhere, and less of it each time."""
    script = Script(limited(), start=0.0)
    endpoint, sent = script.endpoint("a"), list[int]()
    for round_ in range(12):
        eras: list[int] = []
        while len(eras) < 50 and endpoint.available(round_ * 2.0):
            eras.append(script.ledger.started(endpoint, round_ * 2.0))
        sent.append(len(eras))
        for era in eras:
            script.ledger.finished(
                endpoint, Verdict.SUCCESS, round_ * 2.0 + 2.0, None, era, began=round_ * 2.0
            )
    assert sent[0] == 16
    assert sent == sorted(sent)
    assert sent[-1] >= 30


def test_ghosts_last_as_long_as_successes_did() -> None:
    """What failed at once says nothing about how long the server computes."""
    script = Script(limited(), start=0.0)
    endpoint = script.endpoint("a")
    for verdict, lasted in ((Verdict.SUCCESS, 9.0), (Verdict.FAILURE, 0.0), (Verdict.IGNORABLE, 0.0)):
        for _ in range(100 if verdict is Verdict.SUCCESS else 3):
            script.ledger.started(endpoint, 0.0)
            script.ledger.finished(endpoint, verdict, lasted, began=0.0)
    script.now = 100.0
    is_late(script)
    script.now = 108.9
    assert script.status("a").ghosts == 1
    script.now = 109.1
    assert script.status("a").ghosts == 0


def test_hard_failures_eject_an_endpoint_with_a_limit_as_any_other() -> None:
    """A limit is no answer to a broken server."""
    script = Script(limited(consecutive_failures=3), start=1.0)
    endpoint = script.endpoint("a")
    for _ in range(3):
        era = script.ledger.started(endpoint, 1.0)
        told = script.ledger.finished(endpoint, Verdict.FAILURE, 1.0, None, era)
    assert [type(event).__name__ for event in told] == ["Ejected", "ServiceUnavailable"]


def test_a_limit_and_a_ramp_both_have_to_agree() -> None:
    """A server that has just come back is the last that should be flooded."""
    script = Script(limited(ramp=10.0), start=1.0)
    script.ledger.eject(script.endpoint("a").key, 1.0, 1.0)
    script.ledger.advance(2.0)
    script.now = 2.0
    endpoint = script.endpoint("a")
    era = script.ledger.started(endpoint, 2.0)
    script.ledger.finished(endpoint, Verdict.SUCCESS, 2.0, None, era)
    assert script.states() == {"a": "ramp"}
    assert script.available("a")
    script.now = 2.3
    is_late(script)
    script.now = 2.4
    assert not script.available("a")
    assert script.endpoint("a").overloaded(2.4)


def test_a_new_policy_goes_on_with_what_was_learned() -> None:
    """The server has not changed; only its timeout and whether it cancels may be other ones now."""
    script = Script(limited(), start=1.0)
    is_late(script)
    changed = replace(
        limited(),
        timeouts=Timeouts(first_packet=1.0),
        adaptive_concurrency=AdaptiveConcurrency(cancels=True),
    )
    script.at(1.1, policy_is(changed))
    limit = script.endpoint("a").limit
    assert limit is not None
    assert (limit.timeout, limit.cancels, limit.at(1.1)) == (1.0, True, 1.0)


def test_a_limit_switched_off_is_forgotten() -> None:
    """Off means that nothing of it is left; on again begins anew."""
    script = Script(limited(), start=1.0)
    is_late(script)
    script.at(1.1, policy_is(service_of("a")))
    assert limit_of(script) is None
    assert script.available("a")
    script.at(1.2, policy_is(limited()))
    assert limit_of(script) == 16.0


def test_attempts_may_end_under_another_policy_than_they_began() -> None:
    """Each end is counted once, whatever the limit was meanwhile."""
    script = Script(limited(), start=1.0).at(1.0, starts("a", "one"))
    script.at(1.1, policy_is(service_of("a"))).at(1.2, starts("a", "two")).at(1.3, policy_is(limited()))
    script.at(1.4, ends("one", Verdict.SUCCESS)).at(1.5, ends("two", Verdict.SUCCESS))
    assert script.status("a").in_flight == 0


def test_a_restore_forgets_the_limit() -> None:
    """As if the endpoint were new."""
    script = Script(limited(), start=1.0)
    is_late(script)
    script.at(1.1, is_restored("a"))
    assert limit_of(script) == 16.0


def test_a_removed_endpoint_takes_its_limit_with_it() -> None:
    """The address may be another server's the next time."""
    script = Script(limited("ab"), start=1.0)
    is_late(script)
    script.ledger.set_endpoints("llm", ["b:80"], 1.1)
    script.ledger.set_endpoints("llm", ["a:80", "b:80"], 1.2)
    script.now = 1.2
    assert limit_of(script) == 16.0
