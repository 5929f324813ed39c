"""Canaries: what must stay between the app, the sidecar and the LLM is looked for wherever the sidecar speaks."""

from __future__ import annotations

import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml
from llmsidecar.v1 import health_pb2, policy_pb2

from tests.itest.stage import llm
from tests.telemetry.collector import Collector

from .admin import health, policies
from .llm import CHAT, DONE, LAST, SSE_HEAD, Llm, chat_chunk, framed, json_answer, raw, reset, stream
from .process import Process, running
from .sidecar import free_port

CANARY = "canary-that-must-not-sing"
ENV, FILE, LITERAL, HEADER = (f"{CANARY}-{kind}" for kind in ("env", "file", "literal", "header"))
APP, PROMPT, ANSWER, QUERY = (f"{CANARY}-{kind}" for kind in ("app", "prompt", "answer", "query"))
NEW, MISPLACED = f"{CANARY}-new", f"{CANARY}-misplaced"
NEVER = {"consecutive_failures": 0, "failure_percentage_threshold": 0}


@dataclass
class Story:
    """What an app, an operator and a collector saw; `said` is by where it was said."""

    said: dict[str, str] = field(default_factory=dict)
    llms: dict[str, Llm] = field(default_factory=dict)
    state: str = ""
    modes: tuple[int, int] = (0, 0)
    spans: int = 0


def written(folder: Path, llms: dict[str, Llm], collector: Collector) -> dict[str, Any]:
    credentials = {
        "env": {"bearer": {"env": "CANARY_KEY"}},
        "file": {"bearer": {"file": str(folder / "key")}},
        "literal": {"bearer": {"literal": LITERAL}},
        "header": {"header": {"name": "x-api-key", "value": {"literal": HEADER}}},
        "cut": {"bearer": {"env": "CANARY_KEY"}},
    }
    services = [
        {"name": name, "url": llms[name].url, "credential": credential, "passive_health": NEVER}
        for name, credential in credentials.items()
    ]
    dead = f"http://127.0.0.1:{free_port()}/v1"
    services.append({"name": "dead", "url": dead, "credential": {"bearer": {"env": "CANARY_KEY"}}})
    routes = [{"match": {"models": [name]}, "services": [name]} for name in (*credentials, "dead")]
    return {
        "listen": ["127.0.0.1:0"],
        "admin": {"listen": [f"unix:{folder}/admin.sock"]},
        "ops": {"listen": ["127.0.0.1:0"]},
        "state_dir": str(folder / "state"),
        "telemetry": {"otlp_endpoint": collector.endpoint, "sample_ratio": 1},
        "policy": {
            "services": services,
            "routes": [*routes, {"match": {"models": ["all"]}, "services": ["dead", "env", "file"]}],
        },
    }


def ask_everything(process: Process, story: Story) -> None:
    """Successes, failures of services, errors of the sidecar's own; every one with canaries in it."""
    fields = {"authorization": f"Bearer {APP}", "x-api-key": APP, "cookie": APP}
    errors = []
    with httpx.Client(base_url=f"http://{process.listen[0]}", headers=fields, timeout=20) as app:
        for model in ("env", "file", "literal", "header", "cut", "dead", "all"):
            for streaming in (False, True):
                body = {"model": model, "stream": streaming, "user": PROMPT}
                messages = [{"role": "user", "content": PROMPT}]
                url = f"/v1/chat/completions?key={QUERY}"
                try:
                    answer = app.post(url, json={**body, "messages": messages})
                except httpx.RemoteProtocolError:
                    continue  # the cut stream
                if answer.status_code != 200:
                    errors.append(f"{answer.headers} {answer.text}")
                else:
                    assert answer.headers["x-sidecar-service"]
                    errors.append(str(answer.headers))
        for url, host in ((f"/other?key={QUERY}", "localhost"), (f"/v1/x?key={QUERY}", CANARY)):
            answer = app.post(url, content=PROMPT, headers={"host": host})
            assert answer.status_code in (404, 421)
            errors.append(
                f"{answer.headers} {answer.text.replace(CANARY, '') if host == CANARY else answer.text}"
            )
        answer = app.post("/v1/chat/completions", content=f'{{"model": "env", "messages": {PROMPT}')
        errors.append(f"{answer.headers}" + (answer.text if answer.status_code >= 400 else ""))
    story.said["answers of the sidecar's own"] = "\n".join(errors)


def change_the_policy(address: str, story: Story) -> None:
    """As a client does: read, change, write back; and as one does who makes mistakes with secrets."""
    with policies(address) as stub:
        got = stub.GetPolicy(policy_pb2.GetPolicyRequest())
        story.said["GetPolicy"] = str(got)
        got.policy.services[2].credential.bearer.literal = NEW
        got.policy.services[0].model = "changed"
        updated = stub.UpdatePolicy(policy_pb2.UpdatePolicyRequest(policy=got.policy, comment="c"))
        story.said["UpdatePolicy"] = str(updated)
        refusals = []
        for bad in (f"{MISPLACED}\n", f"{MISPLACED} \x00", f"{MISPLACED}é"):
            got.policy.services[2].credential.bearer.literal = bad
            got.policy.services[3].credential.header.value.literal = bad
            with pytest.raises(grpc.RpcError) as refused:
                stub.UpdatePolicy(policy_pb2.UpdatePolicyRequest(policy=got.policy))
            refusals.append(f"{refused.value}")
        story.said["UpdatePolicy refused"] = "\n".join(refusals)
        history = stub.ListPolicyRevisions(policy_pb2.ListPolicyRevisionsRequest())
        story.said["ListPolicyRevisions"] = str(history)


def roll_back(address: str, story: Story) -> None:
    with policies(address) as stub:
        request = policy_pb2.RollbackPolicyRequest(generation=1)
        story.said["RollbackPolicy"] = str(stub.RollbackPolicy(request))


def misplace(text: str) -> Iterator[tuple[str, str]]:
    """Configs with a secret where none belongs, as they are written by mistake."""
    good = yaml.safe_load(text)
    for name, credential in {
        "a bare key that no header bears": {"bearer": f"{MISPLACED}\u00e9"},
        "a key in place of a credential": MISPLACED,
        "a list": {"bearer": [MISPLACED]},
        "an unknown source": {"bearer": {"value": MISPLACED}},
        "characters that no header bears": {"bearer": {"literal": f"{MISPLACED}\n"}},
        "a header without a name": {"header": {"value": MISPLACED}},
        "two sources": {"bearer": {"literal": MISPLACED, "env": "CANARY_KEY"}},
    }.items():
        good["policy"]["services"][0]["credential"] = credential
        yield name, yaml.safe_dump(good)


def command(*words: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", *words],
        capture_output=True,
        text=True,
        timeout=30,
        env={"PATH": "/usr/bin:/bin", **env},
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"


def use_the_command_line(process: Process, folder: Path, story: Story) -> None:
    path, admin = folder / "sidecar.yaml", process.admin[0]
    text = path.read_text()
    (folder / "other.yaml").write_text(text.replace(LITERAL, NEW).replace(HEADER, NEW))
    for words in (
        ("policy", "get"),
        ("policy", "get", "--json"),
        ("policy", "history"),
        ("policy", "history", "--json"),
        ("policy", "diff", str(folder / "other.yaml")),
        ("policy", "apply", "--dry-run", "--json", str(folder / "other.yaml")),
        ("endpoints", "--json"),
        ("explain", "--model", "env"),
        ("doctor", "--config", str(path)),
    ):
        said = command(*words, "--admin", admin, CANARY_KEY=ENV)
        assert not said.startswith("exit 2"), (words, said)
        story.said[" ".join(words[:3])] = said
    story.said["check"] = command("check", str(path), CANARY_KEY=ENV)
    assert story.said["check"].startswith("exit 0")


def spoil_the_file(process: Process, folder: Path, story: Story) -> None:
    path = folder / "sidecar.yaml"
    text = path.read_text()
    for number, (name, bad) in enumerate(misplace(text)):
        (folder / "bad.yaml").write_text(bad)
        said = command("check", str(folder / "bad.yaml"), CANARY_KEY=ENV)
        assert said.startswith("exit 2"), (name, said)
        story.said[f"check, {name}"] = said
        story.said[f"check --json, {name}"] = command("check", "--json", str(folder / "bad.yaml"))
        if number < 2:
            path.write_text(bad)
            process.signal(signal.SIGHUP)
            process.wait_for("policy_rejected", source="file")
    path.write_text(text)


def look_at_ops(process: Process, story: Story) -> None:
    base = f"http://{process.ops[0]}"
    for path in ("/", "/api/state", "/api/policy", "/metrics", "/livez", "/readyz"):
        answer = httpx.get(base + path)
        assert answer.status_code == 200
        story.said[path] = f"{answer.headers}\n{answer.text}"
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    story.said["OpenMetrics"] = httpx.get(f"{base}/metrics", headers=accept).text


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "key").write_text(f"{FILE}\n")
    story, collector = Story(), Collector()
    answers = {
        "env": [json_answer(CHAT), stream(ANSWER)],
        "file": [json_answer({"error": {"message": "no"}}, 500)],
        "literal": [json_answer({"error": {"message": "no"}}, 401)],
        "header": [stream(ANSWER)],
        "cut": [
            reset(),
            raw(SSE_HEAD, framed(chat_chunk(ANSWER)), close=True),
            raw(SSE_HEAD, framed(b'data: {"error": {"message": "no"}}\n\n'), framed(DONE), LAST),
        ],
    }
    services = {name: llm(*each) for name, each in answers.items()}
    try:
        for name, service in services.items():
            story.llms[name] = service.__enter__()
        config = written(folder, story.llms, collector)
        with running(config, folder, CANARY_KEY=ENV) as process, health(process.admin[0]) as stub:
            request = health_pb2.WatchHealthEventsRequest(include_attempts=True)
            watch, events = stub.WatchHealthEvents(request), []

            def follow() -> None:
                try:
                    events.extend(iter(watch))
                except grpc.RpcError as error:
                    events.append(error.details())

            follower = threading.Thread(target=follow)
            follower.start()
            ask_everything(process, story)
            change_the_policy(process.admin[0], story)
            ask_everything(process, story)
            roll_back(process.admin[0], story)
            use_the_command_line(process, folder, story)
            look_at_ops(process, story)
            spoil_the_file(process, folder, story)
            story.said["/api/state, later"] = httpx.get(f"http://{process.ops[0]}/api/state").text
            listed = stub.ListEndpoints(health_pb2.ListEndpointsRequest())
            story.said["ListEndpoints"] = str(listed)
            state = folder / "state" / "policy.json"
            story.state = state.read_text()
            story.modes = (stat.S_IMODE(state.stat().st_mode), stat.S_IMODE(state.parent.stat().st_mode))
            process.stop()
            follower.join(20)
            story.said["events"] = "\n".join(map(str, events))
            story.said["log"] = "\n".join(map(str, process.lines))
            story.said["stderr"] = "\n".join(process.stderr)
        story.said["spans"] = "\n".join(map(str, collector.requests))
        story.spans = len(collector.spans())
        yield story
    finally:
        for service in services.values():
            service.__exit__(None, None, None)
        collector.stop()


def test_a_canary_is_found_nowhere(story: Story) -> None:
    """A key in a log is a key on its way to everybody who may read logs."""
    found = {
        where: re.findall(f".{{0,60}}{CANARY}.{{0,20}}", text)
        for where, text in story.said.items()
        if CANARY in text
    }
    assert found == {}


def test_what_was_searched_had_something_to_tell(story: Story) -> None:
    """An empty log holds no secret either."""
    assert {name for name, llm in story.llms.items() if CANARY in str(llm.received)} == set(story.llms)
    sent = str([received.fields for llm in story.llms.values() for received in llm.received])
    assert all(secret in sent for secret in (ENV, FILE, LITERAL, HEADER, NEW))
    assert story.spans > 28
    for where, words in {
        "log": ["'request'", "policy_applied", "policy_rejected"],
        "events": ["attempt_finished", "policy_applied", "policy_rejected", "fallback"],
        "stderr": ["ready"],
        "GetPolicy": ["<hidden>", "CANARY_KEY"],
        "ListPolicyRevisions": ["<hidden>"],
        "UpdatePolicy refused": ["policy.services[2].credential.bearer"],
        "/api/policy": ["$CANARY_KEY", "(hidden)"],
        "policy get": ["<hidden>"],
        "OpenMetrics": ["sidecar_requests_total", "trace_id"],
        "answers of the sidecar's own": ["connect_failure", "no_route"],
    }.items():
        said: Sequence[str] = [word for word in words if word not in story.said[where]]
        assert not said, (where, story.said[where])


def test_only_literals_are_stored_and_only_the_owner_may_read_them(story: Story) -> None:
    """They are part of the policy, and a restart needs them; references stay references."""
    assert story.modes == (0o600, 0o700)
    assert all(secret in story.state for secret in (LITERAL, HEADER))
    assert not any(secret in story.state for secret in (ENV, FILE, APP, PROMPT, ANSWER, MISPLACED))
