"""A policy from its update to its end, over real gRPC: kills, live streams, rivals, trials."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import grpc
import httpx
import pytest
import yaml
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import ParseDict
from llmsidecar.v1 import policy_pb2 as pb
from llmsidecar.v1.policy_pb2_grpc import PolicyServiceStub
from sidecar_client import AdminClient
from sidecar_client.errors import PolicyRejected

from sidecar.admin.store import PolicyStore
from tests.cli.terminal import sidecar as sidecar_command

from .admin import policies, running_policy
from .llm import DONE, LAST, SSE_HEAD, Answer, Llm, Received, chat_chunk, framed, stream
from .loop import run
from .process import Process
from .sidecar import App, ask, chat, config, service, sidecar
from .waiting import begin, until

UPDATES = 200


def written(folder: Path, mark: str = "file") -> dict[str, Any]:
    return {
        "listen": [f"unix:{folder}/llm.sock"],
        "admin": {"listen": [f"unix:{folder}/admin.sock"]},
        "ops": {"listen": ["127.0.0.1:0"]},
        "state_dir": str(folder / "state"),
        "policy": {
            "services": [
                {"name": name, "url": f"http://127.0.0.1:1/{name}", "model": mark} for name in ("a", "b")
            ],
            "routes": [{"services": ["a", "b"]}],
        },
    }


def marked(mark: str) -> pb.Policy:
    """The same policy as in the file, but for the mark, which stands in two places."""
    services = [pb.Service(name=name, url=f"http://127.0.0.1:1/{name}", model=mark) for name in ("a", "b")]
    return pb.Policy(services=services, routes=[pb.Route(services=["a", "b"])])


def mark_of(models: Sequence[str]) -> str:
    """The one mark of a policy; a mixed one has two."""
    marks = set(models)
    assert len(marks) == 1, f"mixed: {marks}"
    return marks.pop()


def put(folder: Path, mark: str = "file") -> Path:
    path = folder / "sidecar.yaml"
    path.write_text(yaml.safe_dump(written(folder, mark)))
    return path


def kill(process: Process) -> None:
    process.signal(signal.SIGKILL)
    assert process.stop() == -signal.SIGKILL


class Life:
    """One process after another on one state folder; checks at each birth what it runs."""

    def __init__(self, folder: Path) -> None:
        self.path = put(folder)
        self.folder = folder
        self.known: dict[str, str] = {}  # mark by etag, of everything that was ever seen to run

    def begin(self) -> tuple[Process, pb.GetPolicyResponse]:
        process = Process(self.path, {})
        runs = running_policy(process.admin[0])
        mark = mark_of([each.model for each in runs.policy.services])
        in_force = httpx.get(f"http://{process.ops[0]}/api/policy").json()
        assert mark_of([each["model"] for each in in_force["services"]]) == mark
        assert in_force["generation"] == runs.generation
        assert runs.etag.startswith(f"{runs.generation}-")
        assert self.known.setdefault(runs.etag, mark) == mark, "one etag, two policies"
        stored = PolicyStore(self.folder / "state").load()
        assert stored is not None
        assert stored.newest is not None
        assert (stored.newest.etag, stored.newest.generation) == (runs.etag, runs.generation)
        return process, runs


def test_killed_at_random_points_of_200_updates_the_last_acknowledged_or_the_one_in_flight_runs(
    tmp_path: Path,
) -> None:
    """An answer is a promise that a restart keeps; without one, either is right, but never half of each."""
    rng, life = Random(5), Life(tmp_path)
    process, runs = life.begin()
    acknowledged, generation, number = "file", runs.generation, 0
    survived = {"in flight": 0, "acknowledged": 0}
    try:
        while number < UPDATES:
            with policies(process.admin[0]) as stub:
                for _ in range(rng.randint(0, 12)):
                    number += 1
                    answer = stub.UpdatePolicy(
                        pb.UpdatePolicyRequest(policy=marked(f"m{number}")), timeout=20
                    )
                    assert answer.generation == generation + 1
                    acknowledged, generation = f"m{number}", answer.generation
                    life.known[answer.etag] = acknowledged
                number += 1
                flying = stub.UpdatePolicy.future(pb.UpdatePolicyRequest(policy=marked(f"m{number}")))
                answered = threading.Event()
                flying.add_done_callback(lambda _, answered=answered: answered.set())
                answered.wait(rng.uniform(0.0, 0.005))  # an update takes some 3 ms
                kill(process)
            if flying.exception() is None:
                acknowledged, generation = f"m{number}", flying.result().generation
            process, runs = life.begin()
            mark = mark_of([each.model for each in runs.policy.services])
            assert (mark, runs.generation) in {
                (acknowledged, generation),
                (f"m{number}", generation + (flying.exception() is not None)),
            }
            assert runs.source == ("file" if mark == "file" else "state")
            survived["acknowledged" if mark == acknowledged else "in flight"] += 1
            acknowledged, generation = mark, runs.generation
        with policies(process.admin[0]) as stub:
            history = stub.ListPolicyRevisions(pb.ListPolicyRevisionsRequest()).revisions
    finally:
        process.stop()
    assert sum(survived.values()) >= 20
    assert survived["acknowledged"] > 0
    generations = [revision.generation for revision in history]
    assert generations == list(range(generation, generation - len(history), -1))
    for revision in history:
        assert life.known.get(revision.etag) == mark_of([each.model for each in revision.policy.services])


def test_after_a_kill_a_file_that_changed_wins_once_and_the_api_is_heard_again(tmp_path: Path) -> None:
    """The rule of the contract: the newest that was accepted, and an edit of the file is newer than the state."""
    life = Life(tmp_path)
    process, _ = life.begin()
    told: list[tuple[str, str, int]] = []

    def again(edit: str | None = None) -> None:
        nonlocal process
        kill(process)
        if edit is not None:
            put(tmp_path, edit)
        process, runs = life.begin()
        told.append((mark_of([each.model for each in runs.policy.services]), runs.source, runs.generation))

    try:
        update(process, "api")
        again()
        again(edit="edited")
        again()
        update(process, "api again")
        again()
        again(edit="file")
    finally:
        process.stop()
    assert told == [
        ("api", "state", 2),
        ("edited", "file", 3),
        ("edited", "file", 3),
        ("api again", "state", 4),
        ("file", "file", 5),
    ]


def update(process: Process, mark: str, **more: Any) -> pb.UpdatePolicyResponse:
    with policies(process.admin[0]) as stub:
        request = pb.UpdatePolicyRequest(policy=marked(mark), **more)
        response: pb.UpdatePolicyResponse = stub.UpdatePolicy(request, timeout=20)
        return response


def test_writers_that_check_the_etag_lose_no_change_of_each_other(tmp_path: Path) -> None:
    """Get, change, update: one of those who read the same etag wins, the others hear ABORTED and read again."""
    writers, changes = 6, 8
    all_have_read = threading.Barrier(writers)
    refusals: list[str] = []
    wins: list[int] = []

    def write(writer: int, address: str) -> None:
        with policies(address) as stub:
            for change in range(changes):
                all_have_read.wait(20)
                while True:
                    read = stub.GetPolicy(pb.GetPolicyRequest())
                    read.policy.services[0].headers.set[f"x-{writer}-{change}"] = "x"
                    request = pb.UpdatePolicyRequest(policy=read.policy, etag=read.etag)
                    try:
                        wins.append(stub.UpdatePolicy(request, timeout=20).generation)
                        break
                    except grpc.RpcError as error:
                        if error.code() is not grpc.StatusCode.ABORTED:
                            raise
                        refusals.append(error.details() or "")

    process = Process(put(tmp_path), {})
    try:
        with ThreadPoolExecutor(writers) as threads:
            for done in [threads.submit(write, each, process.admin[0]) for each in range(writers)]:
                done.result(60)
        runs = running_policy(process.admin[0])
    finally:
        process.stop()
    assert sorted(wins) == list(range(2, 2 + writers * changes))
    assert refusals
    assert all("is stale" in refusal for refusal in refusals)
    assert set(runs.policy.services[0].headers.set) == {
        f"x-{writer}-{change}" for writer in range(writers) for change in range(changes)
    }


def test_a_trial_takes_itself_back_and_a_confirmed_one_stays(tmp_path: Path) -> None:
    """Whoever locks themselves out gets back in without doing anything."""
    process = Process(put(tmp_path), {})
    try:
        trial = update(process, "trial", revert_after=Duration(seconds=3))
        assert running_policy(process.admin[0]).reverts_at == trial.reverts_at
        process.wait_for("policy_applied", generation=3)
        back = running_policy(process.admin[0])
        assert (mark_of([s.model for s in back.policy.services]), back.source) == ("file", "state")
        assert not back.HasField("reverts_at")

        kept = update(process, "kept", revert_after=Duration(seconds=3))
        with policies(process.admin[0]) as stub:
            confirmed = stub.ConfirmPolicy(pb.ConfirmPolicyRequest(etag=kept.etag))
        assert (confirmed.etag, confirmed.generation) == (kept.etag, 4)
        while time.time_ns() <= kept.reverts_at.ToNanoseconds() + 100_000_000:
            assert running_policy(process.admin[0]).etag == kept.etag
    finally:
        process.stop()


def test_a_kill_ends_a_trial_and_not_what_was_confirmed(tmp_path: Path) -> None:
    """A trial that brought the process down is not begun again; a confirmation is on disk when it is answered."""
    life = Life(tmp_path)
    process, _ = life.begin()
    try:
        kept = update(process, "kept", revert_after=Duration(seconds=3600))
        with policies(process.admin[0]) as stub:
            stub.ConfirmPolicy(pb.ConfirmPolicyRequest())
        kill(process)
        process, runs = life.begin()
        assert (runs.etag, runs.HasField("reverts_at")) == (kept.etag, False)

        update(process, "trial", revert_after=Duration(seconds=3600))
        update(process, "second trial", revert_after=Duration(seconds=3600))
        kill(process)
        process, runs = life.begin()
        assert mark_of([s.model for s in runs.policy.services]) == "kept"
        assert (runs.generation, runs.HasField("reverts_at")) == (5, False)
        with policies(process.admin[0]) as stub:
            newest = stub.ListPolicyRevisions(pb.ListPolicyRevisionsRequest()).revisions[0]
        assert newest.comment == "generation 4 was not confirmed"
    finally:
        process.stop()


MISTAKES = {
    "services": [
        {"name": "a", "url": "ftp://llm/v1", "load_balancing": "round_robbin", "dialect": "anthropics"},
        {"name": "a", "url": "http://llm/v1", "models": {"": "x"}, "credential": {"bearer": {"env": "1X"}}},
        {"name": "b", "url": "http://u:p@llm/v1", "endpoints": ["llm"], "timeouts": {"connect": "48h"}},
    ],
    "routes": [
        {"services": ["A", "b", "b"], "fallback_on": ["5xy"], "max_attempts": 1000, "commit": "completely"},
        {"match": {"path_prefix": "v1"}},
    ],
}


def test_the_api_and_sidecar_check_tell_the_same_of_the_same_policy(tmp_path: Path) -> None:
    """One schema, one validation: what a rollout refuses was refused at the desk, in the same words."""
    (tmp_path / "mistakes.yaml").write_text(yaml.safe_dump({"policy": MISTAKES}))
    told = sidecar_command("check", "--json", str(tmp_path / "mistakes.yaml"))
    assert told.code == 2
    problems = json.loads(told.out)["problems"]
    assert all(problem["line"] > 1 for problem in problems)
    process = Process(put(tmp_path), {})
    try:
        with AdminClient(process.admin[0]) as admin, pytest.raises(PolicyRejected) as refused:
            admin.update_policy(ParseDict(MISTAKES | {"services": as_proto()}, pb.Policy()))
    finally:
        process.stop()
    by_api = {(violation.field, violation.description) for violation in refused.value.violations}
    assert by_api == {(problem["field"], problem["description"]) for problem in problems}
    assert len(by_api) >= 12
    assert sum("did you mean" in description for _, description in by_api) >= 4


def as_proto() -> list[dict[str, Any]]:
    """The same services, durations as protobuf's JSON has them."""
    services = deepcopy(MISTAKES["services"])
    services[2]["timeouts"] = {"connect": "172800s"}  # type: ignore[index]
    return services  # type: ignore[return-value]


def test_a_refused_policy_stands_in_the_log_wherever_it_came_from(tmp_path: Path) -> None:
    """Whoever looks afterwards sees what somebody tried, and that a restart did not bring back what was stored."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "policy.json").write_text("{")
    process = Process(put(tmp_path), {})
    try:
        assert "policy.json.corrupt" in process.wait_for("policy_rejected", source="state")["problems"][0]
        with policies(process.admin[0]) as stub, pytest.raises(grpc.RpcError):
            stub.UpdatePolicy(pb.UpdatePolicyRequest(policy=pb.Policy()), timeout=20)
        assert process.wait_for("policy_rejected", source="api")["problems"]
        (tmp_path / "sidecar.yaml").write_text("policy: {}")
        assert process.wait_for("policy_rejected", source="file")["problems"]
        update(process, "good", comment="a better one")
        applied = process.wait_for("policy_applied", source="api")
        assert (applied["generation"], applied["comment"]) == (2, "a better one")
    finally:
        process.stop()


class Beats:
    """A stream that goes on by a word whenever the test says so."""

    def __init__(self, count: int) -> None:
        self.beats = [asyncio.Event() for _ in range(count)]

    async def answer(self, _: Received, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SSE_HEAD + framed(chat_chunk(role=True)) + framed(chat_chunk("first")))
        for number, beat in enumerate(self.beats):
            await beat.wait()
            writer.write(framed(chat_chunk(f"word {number}")))
        writer.write(framed(chat_chunk(finish="stop")) + framed(DONE) + LAST)

    @property
    def whole(self) -> bytes:
        words = ["first", *(f"word {number}" for number in range(len(self.beats)))]
        return b"".join(
            [chat_chunk(role=True), *(chat_chunk(w) for w in words), chat_chunk(finish="stop"), DONE]
        )


def failing_after(release: asyncio.Event) -> Answer:
    async def answer(_: Received, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(b"HTTP/1.1 503 X\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n")

    return answer


def test_no_stream_notices_1000_updates_and_requests_keep_the_policy_they_began_with(tmp_path: Path) -> None:
    """Neither what is being relayed nor what has still to choose its next service may see the policy change."""

    async def test() -> None:
        beats, release = Beats(10), asyncio.Event()
        records: list[Any] = []
        async with (
            Llm(beats.answer) as primary,
            Llm(failing_after(release)) as slow,
            Llm(stream("b")) as other,
        ):
            first = config(
                service("a", primary, model="m0"),
                service("slow", slow, model="m0"),
                service("b", other, model="m0"),
                state_dir=str(tmp_path / "state"),
                admin={"listen": [f"unix:{tmp_path}/admin.sock"]},
            )
            rescue = {"match": {"models": ["rescue"]}, "services": ["slow", "b"]}
            first["policy"]["routes"] = [rescue, {"services": ["a"]}]
            async with sidecar(first, sinks=[records.append]) as daemon:
                apps = [await App.over_unix(daemon) for _ in range(100)]
                for app in apps:
                    app.send(chat(stream=True))
                rescued = [begin(ask(daemon, chat(stream=True, model="rescue"))) for _ in range(10)]
                await until(lambda: len(primary.received) == 100 and len(slow.received) == 10)
                async with grpc.aio.insecure_channel(daemon.admin_listen[0]) as channel:
                    stub: Any = PolicyServiceStub(channel)  # type: ignore[no-untyped-call]
                    policy = (await stub.GetPolicy(pb.GetPolicyRequest())).policy
                    for number in range(1, 1001):
                        for each in policy.services:
                            each.model = f"m{number}"
                        # now and then the streams' own service is gone altogether
                        part = policy if number % 5 else without(policy, "a")
                        answer = await stub.UpdatePolicy(pb.UpdatePolicyRequest(policy=part))
                        assert answer.generation == number + 1
                        if number % 100 == 0:
                            beats.beats[number // 100 - 1].set()
                    last = await stub.UpdatePolicy(pb.UpdatePolicyRequest(policy=policy))
                release.set()
                replies = await asyncio.gather(*(app.reply() for app in apps))
                for app in apps:
                    app.close()
                assert all(reply.ended and reply.body == beats.whole for reply in replies)
                assert {(await task).fields["x-sidecar-service"] for task in rescued} == {"b"}
                assert {received.json["model"] for received in other.received} == {"m0"}
                assert [record.generation for record in records] == [1] * 110
                assert (await ask(daemon, chat(stream=True))).body == beats.whole
                assert (records[-1].generation, primary.received[-1].json["model"]) == (
                    last.generation,
                    "m1000",
                )

    run(test())


def without(policy: pb.Policy, name: str) -> pb.Policy:
    """The policy without a service, whose routes go to `b`."""
    part = pb.Policy()
    part.CopyFrom(policy)
    del part.services[:], part.routes[:]
    part.services.extend(each for each in policy.services if each.name != name)
    part.routes.add(services=["slow", "b"])
    return part
