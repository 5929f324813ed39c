"""Rules and dashboard against a real Prometheus that scrapes real sidecars, and the rules' own tests by promtool."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.daemon.llm import CHAT, json_answer
from tests.daemon.process import Process, running
from tests.daemon.sidecar import service
from tests.itest.dashboards import Query, dashboard, queries
from tests.itest.peers import Prometheus, prometheus, promtool, require, running_prometheus
from tests.itest.peers.serving import free_port
from tests.itest.stage import config, llm, until

pytestmark = pytest.mark.itest

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules"
SURGE = ("--calm", "2s", "--surge-for", "4s", "--recovery", "6s")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
WENT_OUT_AND_CAME_BACK = 'changes(sidecar_endpoint_available{job="demo"}[2m]) >= 2'
SECONDS = 90  # a surge or two, however slow the machine is


def promtool_says(*words: str | Path, told: str = "") -> str:
    done = subprocess.run(
        [require(promtool), *words], input=told, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_finds_no_fault_with_the_rules() -> None:
    promtool_says("check", "rules", "--lint-fatal", *sorted(RULES.glob("*.yaml")))


def test_the_example_configuration_is_one() -> None:
    promtool_says("check", "config", RULES.parent / "prometheus.yml")


@pytest.mark.parametrize("file", sorted((RULES / "tests").glob("*.yaml")), ids=lambda file: file.stem)
def test_rules_pass_their_own_tests(file: Path) -> None:
    """Each alert fires for what it is about and is silent before, after and in good health."""
    promtool_says("test", "rules", file)


@contextmanager
def demo() -> Iterator[str]:
    """The ops address of a demo under surges."""
    command = [sys.executable, "-m", "sidecar", "demo", *SURGE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if "/metrics" in line)
            yield line.partition("Prometheus: http://")[2].partition("/")[0]
        finally:
            process.terminate()  # not killed: it takes its folder with it
            process.communicate(timeout=20)


def ask(process: Process) -> None:
    """A chat that is traced, of an app that says so."""
    answer = httpx.post(
        f"http://{process.listen[1]}/v1/chat/completions",
        json={"model": "m", "messages": [{"role": "user", "content": "hi"}]},
        headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"},
    )
    assert answer.status_code == 200


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """The demo through a surge, and beside it what the demo has not: tokens, limits, and traces of which a collector
    that is not there loses some."""
    require(prometheus)
    folder = tmp_path_factory.mktemp("prometheus")
    with llm(json_answer(CHAT)) as primary, llm(json_answer(CHAT)) as fallback, demo() as surging:
        written = config(
            folder,
            service("primary", primary),
            service("fallback", fallback),
            telemetry={"otlp_endpoint": f"http://127.0.0.1:{free_port()}"},
        )
        with running(written, folder) as process, running_prometheus(scraping(surging, process)) as store:

            def everything_happened() -> bool:
                ask(process)
                back = store.query(WENT_OUT_AND_CAME_BACK)
                return bool(back) and not [query for query in queries() if not has_data(store, query)]

            before = time.monotonic()
            while not everything_happened() and time.monotonic() < before + SECONDS:
                time.sleep(0.2)
            yield store


def scraping(surging: str, process: Process) -> dict[str, Any]:
    jobs = {"demo": surging, "plain": process.ops[0]}
    return {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "1s"},
        "rule_files": [str(RULES / "*.yaml")],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in jobs.items()
        ],
    }


def has_data(store: Prometheus, query: Query) -> bool:
    """As a graph of the last minutes would show it: some value, and a number."""
    now = time.time()  # noqa: TID251 - the moment that a browser would send
    found = store.ask(
        "query_range", query=query.expression, start=str(now - SECONDS - 30), end=str(now), step="1"
    )
    return any(math.isfinite(float(value)) for one in found["result"] for _, value in one["values"])


def test_both_sidecars_are_scraped(scraped: Prometheus) -> None:
    targets = scraped.ask("targets")["activeTargets"]
    assert {(t["labels"]["job"], t["health"], t["lastError"]) for t in targets} == {
        ("demo", "up", ""),
        ("plain", "up", ""),
    }


def test_promtool_finds_no_fault_with_the_metrics(scraped: Prometheus) -> None:
    """Names, help texts and types by its conventions, as they are after a surge."""
    for target in scraped.ask("targets")["activeTargets"]:
        promtool_says("check", "metrics", told=httpx.get(target["scrapeUrl"]).text)


def test_every_rule_is_evaluated_and_every_recording_has_data(scraped: Prometheus) -> None:
    """A misspelt metric is no error to Prometheus: the rule is merely empty for ever."""
    rules = [rule for group in scraped.ask("rules")["groups"] for rule in group["rules"]]
    assert {(rule["name"], rule["health"], rule.get("lastError", "")) for rule in rules} == {
        (name, "ok", "") for name in written_rules("record", "alert")
    }
    recorded = written_rules("record")
    assert [name for name in recorded if not has_data(scraped, Query(name, name))] == []


@pytest.mark.parametrize("source", ["state", "file"])
def test_a_policy_that_is_refused_raises_the_alert_for_real(source: str, tmp_path: Path) -> None:
    """A count that begins at 1 never rises, so what the rule asks has to fit what the sidecar shows."""
    require(prometheus)
    state = tmp_path / "state"
    state.mkdir()
    if source == "state":
        (state / "policy.json").write_text("{")
    written = config(tmp_path, service("only", "http://127.0.0.1:9/v1"), state_dir=str(state))
    with (
        running(written, tmp_path) as process,
        running_prometheus(scraping(process.ops[0], process)) as store,
    ):

        def fires() -> list[str]:
            alerts = store.ask("alerts")["alerts"]
            return [
                a["labels"]["source"] for a in alerts if a["labels"]["alertname"] == "SidecarPolicyRejected"
            ]

        until(
            "two scrapes",
            lambda: len(store.query("count_over_time(sidecar_policy_generation[1m]) >= 2")) == 2,
        )
        if source == "file":
            assert fires() == []
            (tmp_path / "sidecar.yaml").write_text("policy: {}")
        until("the alert", lambda: set(fires()) == {source})


def written_rules(*kinds: str) -> set[str]:
    files = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in RULES.glob("*.yaml")]
    rules = [rule for file in files for group in file["groups"] for rule in group["rules"]]
    return {rule[kind] for rule in rules for kind in kinds if kind in rule}


@pytest.mark.parametrize("query", list(queries()), ids=lambda query: query.name)
def test_every_query_of_the_dashboard_returns_data(scraped: Prometheus, query: Query) -> None:
    """Panels and annotations: a panel that says `No data` in a surge is worse than none."""
    assert has_data(scraped, query), query.expression


def test_the_variables_of_the_dashboard_find_the_sidecars(scraped: Prometheus) -> None:
    asked = {
        variable["name"]: variable["definition"]
        for variable in dashboard()["templating"]["list"]
        if variable["type"] == "query"
    }
    assert asked == {
        "job": "label_values(sidecar_policy_generation, job)",
        "instance": 'label_values(sidecar_policy_generation{job=~"$job"}, instance)',
    }
    match = {"match[]": "sidecar_policy_generation"}
    assert scraped.ask("label/job/values", **match) == ["demo", "plain"]
    assert len(scraped.ask("label/instance/values", **match)) == 2


@pytest.mark.parametrize(
    "name", ["sidecar_first_packet_seconds", "sidecar_app_first_packet_seconds", "sidecar_request_seconds"]
)
def test_buckets_lead_to_traces(scraped: Prometheus, name: str) -> None:
    """Prometheus asks for OpenMetrics by itself, and the trace is the one that the app began."""
    now = time.time()  # noqa: TID251 - the moment that a browser would send
    found = scraped.ask(
        "query_exemplars", query=f"{name}_bucket", start=str(now - SECONDS - 30), end=str(now)
    )
    shown = [exemplar for series in found for exemplar in series["exemplars"]]
    assert {exemplar["labels"]["trace_id"] for exemplar in shown} == {TRACE}
    assert all(len(exemplar["labels"]["span_id"]) == 16 for exemplar in shown)
