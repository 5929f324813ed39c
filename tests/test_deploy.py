"""What is under deploy/ agrees with the code, with the docs and with itself."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from llmsidecar.v1.config_pb2 import Config

from sidecar.__main__ import main
from sidecar.policy import load
from sidecar.policy.build import build_settings
from sidecar.telemetry.exposition import Exposition, Gauges
from sidecar.telemetry.metrics import Metrics
from sidecar.terms import TcpAddress, UnixAddress, is_loopback

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "rules"
NAME = re.compile(r"(?<![\w:])sidecar_\w+")

Json = dict[str, Any]


def metric_names() -> set[str]:
    """As they can be asked for: histograms by their three parts."""
    gauges = Gauges(list, dict, lambda: 0, lambda: 0, lambda: 0.0)
    text = Exposition(Metrics(), gauges).render()[0].decode()
    types = dict(re.findall(r"^# TYPE (sidecar_\S+) (\S+)$", text, re.MULTILINE))
    parts = ("_bucket", "_count", "_sum")
    return {name + part for name, kind in types.items() for part in (parts if kind == "histogram" else ("",))}


def rules(kind: str) -> list[Json]:
    files = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted(RULES.glob("*.yaml"))]
    return [rule for file in files for group in file["groups"] for rule in group["rules"] if kind in rule]


def alerts() -> list[Json]:
    return rules("alert")


def dashboard() -> Json:
    loaded: Json = json.loads((DEPLOY / "grafana" / "sidecar.json").read_text(encoding="utf-8"))
    return loaded


def targets() -> list[Json]:
    found = [target for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    return found + [mark for mark in dashboard()["annotations"]["list"] if "expr" in mark]


# Prometheus


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_says_what_it_is_and_leads_to_its_section_of_the_runbook(alert: Json) -> None:
    """Whoever is woken has never read our source."""
    assert alert["labels"]["severity"] in ("critical", "warning", "info")
    assert set(alert["annotations"]) == {"summary", "description", "runbook"}
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^## (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor in {heading.lower() for heading in headings}
    assert anchor == alert["alert"].lower()


def test_the_runbook_has_no_section_of_an_alert_that_is_gone() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [alert["alert"] for alert in alerts()]


def test_every_rule_has_a_test_of_its_own() -> None:
    """Run by the real promtool, in tests/itest."""
    files = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in (RULES / "tests").glob("*.yaml")]
    tests = [test for file in files for test in file["tests"]]
    fired = {t["alertname"] for test in tests for t in test.get("alert_rule_test", ()) if t["exp_alerts"]}
    silent = {
        t["alertname"] for test in tests for t in test.get("alert_rule_test", ()) if not t["exp_alerts"]
    }
    asked = "\n".join(t["expr"] for test in tests for t in test.get("promql_expr_test", ()))
    assert fired == silent == {alert["alert"] for alert in alerts()}
    assert [rule["record"] for rule in rules("record") if rule["record"] not in asked] == []


def test_rules_and_dashboard_ask_only_for_metrics_that_exist() -> None:
    """Prometheus takes a misspelt name for an empty answer."""
    expressions = [rule["expr"] for rule in (*alerts(), *rules("record"))]
    expressions += [target["expr"] for target in targets()]
    assert {name for text in expressions for name in NAME.findall(text)} <= metric_names()
    recorded = {rule["record"] for rule in rules("record")}
    assert {name for text in expressions for name in re.findall(r"\w+:sidecar_\w+:\w+", text)} <= recorded


def test_the_runbook_and_the_telemetry_page_name_only_metrics_that_exist() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    assert set(NAME.findall(text)) <= metric_names()


# Grafana


def test_the_dashboard_has_what_grafana_needs() -> None:
    """What its schema leaves open and an import needs; the schema itself is in tests/itest/test_grafana.py."""
    board = dashboard()
    assert (type(board["title"]), type(board["uid"]), type(board["schemaVersion"])) == (str, str, int)
    assert len(board["uid"]) <= 40
    assert {"from", "to"} == set(board["time"])
    assert {v["name"]: v["type"] for v in board["templating"]["list"]} == {
        "datasource": "datasource",
        "job": "query",
        "instance": "query",
    }
    for panel in board["panels"]:
        assert {"id", "type", "title", "gridPos"} <= panel.keys()
        if panel["type"] != "row":
            assert {"datasource", "fieldConfig", "options", "targets", "description"} <= panel.keys()
            assert {"defaults", "overrides"} == set(panel["fieldConfig"])
    for mark in board["annotations"]["list"]:
        assert {"name", "enable", "iconColor", "datasource"} <= mark.keys()


def test_panels_have_ids_of_their_own_and_do_not_lie_upon_each_other() -> None:
    """Grafana moves what overlaps, and the glance is gone."""
    panels = dashboard()["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids)
    places = [panel["gridPos"] for panel in panels]
    assert all(
        p["x"] >= 0 and p["y"] >= 0 and p["w"] > 0 and p["h"] > 0 and p["x"] + p["w"] <= 24 for p in places
    )
    assert [(one, other) for one, other in combinations(places, 2) if overlap(one, other)] == []


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    apart = (
        one["x"] + one["w"] <= other["x"]
        or other["x"] + other["w"] <= one["x"]
        or one["y"] + one["h"] <= other["y"]
        or other["y"] + other["h"] <= one["y"]
    )
    return not apart


def test_every_query_goes_to_the_chosen_source_and_keeps_to_the_chosen_sidecars() -> None:
    """Else one panel shows another cluster than its neighbour."""
    for target in targets():
        assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        names, chosen = (
            NAME.findall(target["expr"]),
            target["expr"].count('job=~"$job", instance=~"$instance"'),
        )
        assert chosen >= max(1, len(names)), target["expr"]
    for panel in dashboard()["panels"]:
        references = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(references)) == len(references)


# Kubernetes


def manifests() -> dict[str, Json]:
    text = (DEPLOY / "kubernetes" / "pod.yaml").read_text(encoding="utf-8")
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def sidecar_container() -> Json:
    (container,) = manifests()["Pod"]["spec"]["initContainers"]
    found: Json = container
    return found


def config_text() -> str:
    return str(manifests()["ConfigMap"]["data"]["sidecar.yaml"])


def config() -> Config:
    return load(config_text().encode()).config


def mounts(container: Json) -> dict[str, str]:
    return {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}


def test_the_config_of_the_pod_is_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By `sidecar check`, with the secret where the pod would have it."""
    for name, value in manifests()["Secret"]["stringData"].items():
        (tmp_path / name).write_text(value)
    file = tmp_path / "sidecar.yaml"
    file.write_text(config_text().replace(mounts(sidecar_container())["secrets"], str(tmp_path)))
    code = main(["check", str(file)])
    assert (code, capsys.readouterr().err) == (0, "")


def test_the_sidecar_of_the_pod_reads_the_file_that_the_pod_has() -> None:
    folder = mounts(sidecar_container())["config"]
    assert sidecar_container()["args"] == ["run", "--config", f"{folder}/sidecar.yaml"]
    assert sidecar_container()["restartPolicy"] == "Always"


def test_probes_and_scrapes_come_to_an_ops_address_that_other_machines_reach() -> None:
    (port,) = sidecar_container()["ports"]
    reachable = [a for a in build_settings(config()).ops_listen if not is_loopback(a)]
    assert [address.port for address in reachable if isinstance(address, TcpAddress)] == [
        port["containerPort"]
    ]
    assert manifests()["Pod"]["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(port["containerPort"]),
        "prometheus.io/path": "/metrics",
    }
    probes = {
        name: sidecar_container()[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")
    }
    assert probes == {
        "startup": {"path": "/readyz", "port": port["name"]},
        "liveness": {"path": "/livez", "port": port["name"]},
        "readiness": {"path": "/readyz", "port": port["name"]},
    }


def test_the_app_reaches_the_data_socket_and_not_the_admin_socket() -> None:
    """A changed policy could send the app's prompts anywhere: that is the operator's to decide."""
    spec = manifests()["Pod"]["spec"]
    (app,) = spec["containers"]
    theirs = set(mounts(app).values())
    settings = build_settings(config())
    data = {str(Path(a.path).parent) for a in settings.listen if isinstance(a, UnixAddress)}
    admin = {str(Path(a.path).parent) for a in settings.admin_listen if isinstance(a, UnixAddress)}
    assert data == theirs
    assert admin <= set(mounts(sidecar_container()).values())
    assert not admin & theirs
    assert all(isinstance(address, UnixAddress) for address in settings.admin_listen)


def test_every_volume_is_there_and_the_grace_period_holds_the_drain() -> None:
    spec = manifests()["Pod"]["spec"]
    mounted = {name for c in (*spec["initContainers"], *spec["containers"]) for name in mounts(c)}
    assert mounted == {volume["name"] for volume in spec["volumes"]}
    assert spec["terminationGracePeriodSeconds"] > build_settings(config()).drain_timeout
    assert build_settings(config()).state_dir == mounts(sidecar_container())["state"]


# The image


def test_the_image_is_made_of_plain_names_and_of_files_that_exist() -> None:
    """No engine builds it here; what can be checked is."""
    text = (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"python:3.11-slim"}
    ignored = (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text(encoding="utf-8")
    taken = re.findall(r"^!(.+)$", ignored, re.MULTILINE)
    assert [name for name in taken if not (ROOT / name).exists()] == []
    needed = {
        "LICENSE",
        "README.md",
        "hatch_build.py",
        "proto",
        "pyproject.toml",
        "requirements.lock",
        "sidecar",
    }
    assert needed <= set(taken)


def test_all_python_in_the_image_is_compiled() -> None:
    """The standard library of the base image is not: its 150 ms and 2 MiB were the compiler's at every start."""
    text = (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")
    base = text.rindex("\nFROM python:")
    assert "-m compileall -q /opt/llm-sidecar/lib" in text[:base]
    assert re.search(r'^RUN python -m compileall .*get_path\("stdlib"\)', text[base:], re.MULTILINE)
    assert text.index("get_path", base) < text.index("\nUSER ", base)


def test_the_image_and_the_pod_agree() -> None:
    text = (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")
    (tag,) = re.findall(r"-t (\S+)", text)
    (user,) = re.findall(r"^USER (\d+):\d+$", text, re.MULTILINE)
    assert sidecar_container()["image"] == tag
    assert manifests()["Pod"]["spec"]["securityContext"]["runAsUser"] == int(user)
