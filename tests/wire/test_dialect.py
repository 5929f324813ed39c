"""Errors are told as the app's SDK expects them."""

from __future__ import annotations

import json

import pytest
from anthropic.types import ErrorResponse
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseFailedEvent

from sidecar.wire.dialect import Shape, error_body, error_event, shape_of
from sidecar.wire.sse import EventReader


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/chat/completions", Shape.CHAT),
        ("/openai/deployments/x/chat/completions", Shape.CHAT),
        ("/v1/completions", Shape.COMPLETIONS),
        ("/v1/responses", Shape.RESPONSES),
        ("/v1/messages", Shape.MESSAGES),
        ("/v1/threads/t_1/messages", Shape.OTHER),
        ("/v1/chat/completions/c_1/messages", Shape.OTHER),
        ("/v1/messages/count_tokens", Shape.BESIDE_MESSAGES),
        ("/v1/messages/batches/b_1", Shape.BESIDE_MESSAGES),
        ("/v1/threads/t_1/messages/m_1", Shape.OTHER),
        ("/v1/embeddings", Shape.EMBEDDINGS),
        ("/v1/models", Shape.OTHER),
        ("/", Shape.OTHER),
    ],
)
def test_the_shape_is_how_the_path_ends(path: str, shape: Shape) -> None:
    """Prefixes differ between gateways; the ends do not."""
    assert shape_of(path) is shape


@pytest.mark.parametrize("shape", [shape for shape in Shape if "messages" not in shape])
def test_the_error_body_is_that_of_the_contract(shape: Shape) -> None:
    """Contract §4, with the request id in the words."""
    assert json.loads(error_body(shape, "overloaded", 'No "room".', "r1")) == {
        "error": {
            "message": 'No "room". (request id r1)',
            "type": "sidecar_error",
            "code": "overloaded",
            "param": None,
        }
    }


@pytest.mark.parametrize("shape", [Shape.MESSAGES, Shape.BESIDE_MESSAGES])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("bad_request", "invalid_request_error"),
        ("body_too_large", "request_too_large"),
        ("no_route", "not_found_error"),
        ("rate_limited", "rate_limit_error"),
        ("draining", "overloaded_error"),
        ("first_packet_timeout", "timeout_error"),
        ("reset", "api_error"),
    ],
)
def test_a_messages_error_is_anthropics_with_our_code(code: str, kind: str, shape: Shape) -> None:
    """Its SDK shows the type and, of the details, the code; people and logs read the code itself."""
    body = error_body(shape, code, "Words.", "r1")
    assert json.loads(body) == {
        "type": "error",
        "error": {"type": kind, "message": "Words.", "code": code, "details": {"error_code": code}},
        "request_id": "r1",
    }
    if kind != "request_too_large":  # documented by Anthropic, not modelled by its SDK
        assert ErrorResponse.model_validate_json(body).error.message == "Words."


@given(st.sampled_from(Shape), st.text(), st.text(), st.text())
def test_an_error_body_is_compact_json_of_whatever_it_tells(
    shape: Shape, code: str, message: str, id: str
) -> None:
    """It is put together by hand."""
    body = error_body(shape, code, message, id)
    told = json.loads(body)
    assert body == json.dumps(told, separators=(",", ":")).encode()
    error = told["error"]
    assert error["code"] == code
    if "messages" in shape:
        assert (error["message"], told["request_id"], error["details"]) == (
            message,
            id or None,
            {"error_code": code},
        )
    else:
        assert error["message"] == (f"{message} (request id {id})" if id else message)


def test_a_broken_chat_stream_ends_with_an_error_payload() -> None:
    """The OpenAI SDKs raise on a `data` with `error` in it."""
    [event] = EventReader().feed(error_event(Shape.CHAT, "truncated_stream", "Broken\n."))
    assert event.name is None
    assert json.loads(event.data or b"")["error"]["code"] == "truncated_stream"


@pytest.mark.parametrize("shape", [Shape.MESSAGES, Shape.BESIDE_MESSAGES])
def test_a_broken_messages_stream_ends_with_an_error_event(shape: Shape) -> None:
    """Anthropic's SDKs go by the event's name."""
    [event] = EventReader().feed(error_event(shape, "reset", "Broken.", "r1"))
    assert event.name == b"error"
    assert json.loads(event.data or b"")["error"]["type"] == "api_error"


@pytest.mark.parametrize(
    ("code", "theirs"), [("reset", "server_error"), ("rate_limited", "rate_limit_exceeded")]
)
def test_a_broken_responses_stream_ends_with_response_failed(code: str, theirs: str) -> None:
    """Valid by the SDK's own model, whose set of error codes is closed; ours is in the metadata."""
    event = error_event(
        Shape.RESPONSES, code, "Broken.", "r1", response_id="resp_1", sequence_number=7, model="m"
    )
    [read] = EventReader().feed(event)
    assert read.name == b"response.failed"
    failed = ResponseFailedEvent.model_validate_json(read.data or b"")
    assert (failed.sequence_number, failed.response.id, failed.response.status) == (7, "resp_1", "failed")
    assert failed.response.error is not None
    assert failed.response.error.code == theirs
    assert failed.response.metadata == {"sidecar_code": code}
