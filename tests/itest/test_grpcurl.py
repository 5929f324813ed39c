"""The admin API by the real grpcurl, over both kinds of listener, with nothing but what reflection tells."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.daemon.llm import Llm, json_answer, stream
from tests.daemon.process import Process
from tests.daemon.sidecar import service
from tests.itest.calls import Grpcurl, Json
from tests.itest.peers import grpcurl, require
from tests.itest.stage import config, daemon, llm

pytestmark = pytest.mark.itest

POLICY = "llmsidecar.v1.PolicyService"
HEALTH = "llmsidecar.v1.HealthService"
ROUTES = {"paths": ["routes"]}  # grpcurl's spelling; the usual `"routes"` is beyond its JSON reader
FAILURES = 3  # in a row: ejects
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
BROKEN = json_answer({"error": {"message": "out of memory", "type": "server_error"}}, status=500)


@pytest.fixture
def primary() -> Iterator[Llm]:
    with llm(BROKEN) as service:
        yield service


@pytest.fixture
def fallback() -> Iterator[Llm]:
    with llm(stream("fine")) as service:
        yield service


@pytest.fixture
def process(tmp_path: Path, primary: Llm, fallback: Llm) -> Iterator[Process]:
    strict = {
        "consecutive_failures": FAILURES,
        "failure_percentage_threshold": 0,
        "base_ejection_time": "60s",
    }
    services = service("primary", primary, passive_health=strict), service("fallback", fallback)
    with daemon(config(tmp_path, *services, route={"retries_per_service": 0}), tmp_path) as process:
        yield process


@pytest.fixture(params=["unix", "tcp"])
def admin(request: pytest.FixtureRequest, process: Process) -> Grpcurl:
    return Grpcurl(require(grpcurl), process.admin[["unix", "tcp"].index(request.param)])


def ask(process: Process) -> str:
    """One streamed chat; returns its request id."""
    answer = httpx.post(
        f"http://{process.listen[1]}/v1/chat/completions",
        json={"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]},
        headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"},
    )
    assert answer.status_code == 200
    assert answer.headers["x-sidecar-service"] == "fallback"
    return str(answer.headers["x-sidecar-request-id"])


def sequences(events: list[Json]) -> list[int]:
    return [int(event["sequence"]) for event in events]


def test_everything_that_is_served_can_be_listed_and_described(admin: Grpcurl) -> None:
    """An operator in a bare container has no proto files."""
    assert admin.text("list").split() == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        HEALTH,
        POLICY,
    ]
    described = admin.text("describe", f"{POLICY}.UpdatePolicy")
    assert "rpc UpdatePolicy ( .llmsidecar.v1.UpdatePolicyRequest )" in described
    message = admin.text("describe", "llmsidecar.v1.UpdatePolicyRequest")
    for field in ("policy", "update_mask", "etag", "validate_only", "revert_after", "comment"):
        assert f" {field} = " in message


def test_the_standard_health_check_answers_for_the_whole_and_for_each_service(admin: Grpcurl) -> None:
    for name in ("", POLICY, HEALTH):
        assert admin.call("grpc.health.v1.Health/Check", service=name) == {"status": "SERVING"}
    assert admin.refused("grpc.health.v1.Health/Check", service="nobody")["code"] == 5  # NOT_FOUND


def test_a_whole_policy_replaces_the_running_one(admin: Grpcurl, process: Process, fallback: Llm) -> None:
    before = admin.call(f"{POLICY}/GetPolicy")
    assert (before["source"], before["generation"]) == ("file", "1")
    assert [s["name"] for s in before["policy"]["services"]] == ["primary", "fallback"]
    only = {"services": [{"name": "fallback", "url": fallback.url}], "routes": [{"services": ["fallback"]}]}
    answer = admin.call(f"{POLICY}/UpdatePolicy", policy=only, etag=before["etag"], comment="primary is sick")
    after = admin.call(f"{POLICY}/GetPolicy")
    assert (after["policy"], after["generation"], after["source"]) == (only, "2", "api")
    assert after["etag"] == answer["etag"] != before["etag"]
    ask(process)
    line = process.wait_for("request")
    assert ([a["service"] for a in line["attempts"]], line["generation"]) == (["fallback"], 2)
    newest = admin.call(f"{POLICY}/ListPolicyRevisions")["revisions"][0]
    assert newest["comment"] == "primary is sick"


def test_a_mask_changes_the_routes_and_leaves_the_services_alone(
    admin: Grpcurl, process: Process, primary: Llm
) -> None:
    """Whoever turns a route round must not have to send everything else with it."""
    before = admin.call(f"{POLICY}/GetPolicy")["policy"]
    routes = [{"services": ["fallback"]}]
    admin.call(f"{POLICY}/UpdatePolicy", policy={"routes": routes}, update_mask=ROUTES)
    assert admin.call(f"{POLICY}/GetPolicy")["policy"] == {"services": before["services"], "routes": routes}
    ask(process)
    assert not primary.received


def test_a_stale_etag_is_aborted_and_the_running_policy_stays(admin: Grpcurl) -> None:
    """Of two operators who read the same policy only one may write over it."""
    read = admin.call(f"{POLICY}/GetPolicy")
    first, second = ([{"services": [name]}] for name in ("primary", "fallback"))
    admin.call(f"{POLICY}/UpdatePolicy", policy={"routes": first}, update_mask=ROUTES, etag=read["etag"])
    status = admin.refused(
        f"{POLICY}/UpdatePolicy", policy={"routes": second}, update_mask=ROUTES, etag=read["etag"]
    )
    assert status["code"] == 10  # ABORTED
    assert read["etag"] in status["message"]
    assert admin.call(f"{POLICY}/GetPolicy")["policy"]["routes"] == first


def test_a_dry_run_tells_what_would_be_and_changes_nothing(admin: Grpcurl) -> None:
    before = admin.call(f"{POLICY}/GetPolicy")
    update = {"policy": {"routes": [{"services": ["fallback"]}]}, "update_mask": ROUTES}
    would_be = admin.call(f"{POLICY}/UpdatePolicy", validate_only=True, **update)
    assert would_be["policy"]["routes"] == update["policy"]["routes"]  # type: ignore[index]
    assert admin.call(f"{POLICY}/GetPolicy") == before


@pytest.mark.parametrize("validate_only", [False, True], ids=["update", "dry-run"])
def test_a_bad_policy_is_refused_with_every_problem_at_its_place(admin: Grpcurl, validate_only: bool) -> None:
    """One round of corrections, not one for each mistake."""
    before = admin.call(f"{POLICY}/GetPolicy")
    bad = {
        "services": [
            {"name": "a", "url": "ftp://llm/v1"},
            {"name": "a", "url": "http://llm/v1", "load_balancing": "dice"},
        ],
        "routes": [{"services": ["nobody"], "fallback_on": ["rain"]}],
    }
    status = admin.refused(f"{POLICY}/UpdatePolicy", policy=bad, validate_only=validate_only)
    assert status["code"] == 3  # INVALID_ARGUMENT
    [details] = status["details"]
    assert details["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    violations = {v["field"]: v["description"] for v in details["field_violations"]}
    assert set(violations) == {
        "policy.services[0].url",
        "policy.services[1].name",
        "policy.services[1].load_balancing",
        "policy.routes[0].services[0]",
        "policy.routes[0].fallback_on[0]",
    }
    assert all("; expected " in description for description in violations.values())
    assert admin.call(f"{POLICY}/GetPolicy") == before


def test_a_trial_is_confirmed_once_and_a_rollback_is_a_new_generation(admin: Grpcurl) -> None:
    update = {"policy": {"routes": [{"services": ["fallback"]}]}, "update_mask": ROUTES}
    trial = admin.call(f"{POLICY}/UpdatePolicy", revert_after="3600s", **update)
    assert admin.call(f"{POLICY}/GetPolicy")["reverts_at"] == trial["reverts_at"]
    kept = admin.call(f"{POLICY}/ConfirmPolicy", etag=trial["etag"])
    assert (kept["etag"], kept["generation"]) == (trial["etag"], "2")
    assert "reverts_at" not in admin.call(f"{POLICY}/GetPolicy")
    assert admin.refused(f"{POLICY}/ConfirmPolicy")["code"] == 9  # FAILED_PRECONDITION
    back = admin.call(f"{POLICY}/RollbackPolicy", generation=1)
    assert (back["generation"], len(back["policy"]["routes"][0]["services"])) == ("3", 2)
    assert admin.refused(f"{POLICY}/RollbackPolicy", generation=99)["code"] == 5  # NOT_FOUND


def test_an_operator_takes_an_endpoint_out_for_a_time_and_puts_it_back(admin: Grpcurl, fallback: Llm) -> None:
    where = {"service": "fallback", "endpoint": fallback.address}
    out = admin.call(f"{HEALTH}/EjectEndpoint", duration="60s", **where)["endpoint"]
    assert (out["state"], out["reason"]) == ("ENDPOINT_STATE_EJECTED", "manual")
    length = datetime.fromisoformat(out["until"]) - datetime.fromisoformat(out["since"])
    assert 59 < length.total_seconds() < 61
    back = admin.call(f"{HEALTH}/RestoreEndpoint", **where)["endpoint"]
    assert (back["state"], back["available"]) == ("ENDPOINT_STATE_AVAILABLE", True)
    assert admin.refused(f"{HEALTH}/EjectEndpoint", service="x", endpoint="y:1")["code"] == 5  # NOT_FOUND


def test_endpoints_are_listed_with_their_state_and_why(
    admin: Grpcurl, process: Process, primary: Llm
) -> None:
    for _ in range(FAILURES):
        ask(process)
    listed = {e["service"]: e for e in admin.call(f"{HEALTH}/ListEndpoints")["endpoints"]}
    assert listed["primary"]["state"] == "ENDPOINT_STATE_EJECTED"
    assert listed["primary"]["endpoint"] == primary.address
    assert listed["primary"]["reason"] == "consecutive_failures"
    assert "available" not in listed["primary"]
    assert listed["fallback"]["state"] == "ENDPOINT_STATE_AVAILABLE"
    assert listed["fallback"]["available"] is True


def test_a_watch_tells_an_ejection_from_snapshot_to_recovery_without_a_hole(
    admin: Grpcurl, process: Process, primary: Llm
) -> None:
    with admin.watch() as watch:
        snapshot = watch.next()
        assert snapshot["type"] == "snapshot"
        assert {e["service"]: e["state"] for e in snapshot["snapshot"]["endpoints"]} == {
            "primary": "ENDPOINT_STATE_AVAILABLE",
            "fallback": "ENDPOINT_STATE_AVAILABLE",
        }
        ids = [ask(process) for _ in range(FAILURES + 1)]
        events = watch.take(FAILURES + 3)
        restored = {"service": "primary", "endpoint": primary.address}
        admin.call(f"{HEALTH}/RestoreEndpoint", **restored)
        events += watch.take(2)
    first = int(snapshot["sequence"])
    assert sequences(events) == list(range(first + 1, first + 1 + len(events)))
    # The last failing attempt ejects before its request has ended on the fallback.
    assert [event["type"] for event in events] == [
        *["fallback"] * (FAILURES - 1),
        "endpoint_ejected",
        "service_unavailable",
        *["fallback"] * 2,
        "endpoint_returned",
        "service_recovered",
    ]
    tell_of_ejection(events, primary)
    tell_of_fallbacks([event["fallback"] for event in events if event["type"] == "fallback"], ids)
    assert events[-2]["endpoint_returned"] == {**restored, "reason": "manual"}


def tell_of_ejection(events: list[Json], primary: Llm) -> None:
    [event] = [event for event in events if event["type"] == "endpoint_ejected"]
    ejected = event["endpoint_ejected"]
    assert (ejected["service"], ejected["endpoint"]) == ("primary", primary.address)
    assert (ejected["reason"], ejected["ejection_multiplier"]) == ("consecutive_failures", 1)
    assert (ejected["requests"], ejected["failure_percentage"]) == (FAILURES, 100)
    assert ejected["enforced"] is True
    out = (datetime.fromisoformat(ejected["until"]) - datetime.fromisoformat(event["time"])).total_seconds()
    assert 59 < out < 67  # base_ejection_time and up to a tenth of it


def tell_of_fallbacks(told: list[dict[str, Any]], ids: list[str]) -> None:
    assert [fallback["request_id"] for fallback in told] == ids
    assert [fallback["reason"] for fallback in told] == [*["500"] * FAILURES, "unhealthy"]
    for fallback in told:
        assert (fallback["from"], fallback["to"], fallback["trace_id"]) == ("primary", "fallback", TRACE)


def test_a_watch_resumes_after_a_number_without_a_snapshot(admin: Grpcurl, process: Process) -> None:
    """Whoever was away reads on where it stopped, and misses nothing."""
    with admin.watch() as watch:
        watch.next()
        ids = [ask(process) for _ in range(2)]
        seen, missed = watch.take(2)
    with admin.watch(after_sequence=seen["sequence"]) as watch:
        assert watch.next() == missed
        ids.append(ask(process))
        new = watch.next()
    assert int(new["sequence"]) > int(missed["sequence"])
    assert [event["fallback"]["request_id"] for event in (seen, missed)] == ids[:2]


def test_a_watch_of_one_service_with_attempts_tells_each_attempt(admin: Grpcurl, process: Process) -> None:
    with admin.watch(services=["fallback"], include_attempts=True) as watch:
        [endpoint] = watch.next()["snapshot"]["endpoints"]
        assert endpoint["service"] == "fallback"
        request_id = ask(process)
        events = watch.take(2)
    [attempt] = [event["attempt_finished"] for event in events if event["type"] == "attempt_finished"]
    assert (attempt["service"], attempt["attempt"], attempt["outcome"]) == ("fallback", 2, "success")
    assert (attempt["request_id"], attempt["trace_id"]) == (request_id, TRACE)
