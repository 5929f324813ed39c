"""The Node SDKs of OpenAI and Anthropic against the daemon: a whole answer, or an error; never a silent short one.

What the Python SDKs raise is in tests/daemon/test_sdk_errors.py. Node's do the same, but for a Responses stream that
broke: read event by event it ends with `response.failed` and then fetch's own error; the SDK's collector types it.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.daemon import Daemon
from tests.daemon.dialects import CHAT, COMPLETIONS, MESSAGES, RESPONSES, Dialect
from tests.daemon.llm import Answer, Llm
from tests.daemon.loop import run
from tests.daemon.sidecar import config, service, sidecar
from tests.itest.peers import ASK, node_sdks, require

pytestmark = pytest.mark.itest

CUT = {"reset", "truncated_stream"}  # as the kernel tells it
every_dialect = pytest.mark.parametrize(
    "dialect", [CHAT, COMPLETIONS, RESPONSES, MESSAGES], ids=lambda dialect: dialect.name
)


@pytest.fixture(scope="module")
def sdks() -> Path:
    return require(node_sdks)


async def told(sdks: Path, how: str, address: object) -> Any:
    """What one app was told, by a Node process of its own."""
    command = ("node", str(ASK), str(sdks), how, str(address))
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, complaints = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, complaints.decode()
    return json.loads(out)


async def told_both(sdks: Path, how: str, daemon: Daemon) -> list[Any]:
    """Over the Unix socket and over TCP."""
    return await asyncio.gather(*[told(sdks, how, address) for address in daemon.listen])


def after(answer: Answer, sdks: Path, how: str) -> list[Any]:
    """What apps were told of an answer that nothing else could replace, over the Unix socket and over TCP.

    By a daemon each: what one service says of itself must not be held against it by the other app's request.
    """

    async def tell(place: int) -> Any:
        async with (
            Llm(answer) as llm,
            sidecar(config(service("a", llm, timeouts={"idle": "300ms"}))) as daemon,
        ):
            return await told(sdks, how, daemon.listen[place])

    outcomes: list[Any] = []

    async def test() -> None:
        outcomes.extend(await asyncio.gather(tell(0), tell(1)))

    run(test())
    return outcomes


@every_dialect
def test_a_whole_stream_is_delivered_whole(dialect: Dialect, sdks: Path) -> None:
    """Before anything is said about broken ones."""
    for outcome in after(dialect.whole(), sdks, dialect.name):
        assert (outcome["text"], outcome["error"]) == ("hello", None)


@every_dialect
@pytest.mark.parametrize(
    ("how", "codes"),
    [(Dialect.cut, CUT), (Dialect.stalled, {"idle_timeout"})],
    ids=["cut", "stalled"],
)
def test_a_broken_stream_is_an_error_with_the_code(
    dialect: Dialect, how: Any, codes: set[str], sdks: Path
) -> None:
    """The app has half an answer by then: it must not take it for all."""
    for outcome in after(how(dialect), sdks, dialect.name):
        assert (outcome["text"], outcome["error"] is None) == ("hel", False)
        if dialect is RESPONSES:
            assert outcome["last"]["type"] == "response.failed"
            assert outcome["last"]["response"]["metadata"]["sidecar_code"] in codes
        else:
            assert outcome["error"]["typed"]
            assert outcome["error"]["code"] in codes


@every_dialect
def test_a_failure_that_the_service_reports_in_its_stream_is_raised_in_its_own_words(
    dialect: Dialect, sdks: Path
) -> None:
    """They have gone on to the app before anybody could put better ones in their place."""
    for outcome in after(dialect.failed(), sdks, dialect.name):
        assert (outcome["text"], outcome["error"] is None) == ("hel", False)
        if dialect is RESPONSES:
            assert outcome["last"]["response"]["error"]["message"] == "out of memory"
        else:
            words = {"messages": "overloaded_error"}.get(dialect.name, "server_error")
            assert (outcome["error"]["typed"], outcome["error"]["type"]) == (True, words)


@every_dialect
def test_a_failure_instead_of_an_answer_becomes_a_true_status(dialect: Dialect, sdks: Path) -> None:
    """The service had said 200 already; the app hears 502."""
    for outcome in after(dialect.failed_at_once(), sdks, dialect.name):
        error = outcome["error"]
        assert (outcome["text"], error["class"]) == ("", "InternalServerError")
        assert (error["status"], error["code"]) == (502, "in_stream_error")


@pytest.mark.parametrize(
    "how", [Dialect.cut, Dialect.stalled, Dialect.failed], ids=["cut", "stalled", "failed"]
)
def test_the_collector_of_a_responses_stream_raises_the_sdks_error(how: Any, sdks: Path) -> None:
    """It promises the final response, and there is none."""
    for outcome in after(how(RESPONSES), sdks, "responses-helper"):
        assert (outcome["text"], outcome["error"]["typed"]) == ("", True)
    for outcome in after(RESPONSES.whole(), sdks, "responses-helper"):
        assert (outcome["text"], outcome["error"]) == ("hello", None)


def test_with_a_fallback_the_app_notices_nothing(sdks: Path) -> None:
    """The main job, as a Node app sees it."""

    async def test() -> None:
        async with (
            Llm(CHAT.failed_at_once()) as first,
            Llm(CHAT.whole()) as second,
            sidecar(config(service("a", first), service("b", second))) as daemon,
        ):
            for outcome in await told_both(sdks, "chat", daemon):
                assert (outcome["text"], outcome["error"]) == ("hello", None)

    run(test())
