"""The first packet: when a stream has begun to be of use to the app, and how it stands since.

In:      the payload of a response body, split anywhere.
Out:     `progress`, which opens the gate; content, finish, error, usage for records and health.
Rule:    comments, pings, empty events, blank lines and a bare [DONE] are never progress; role-only, lifecycle
         and usage events are for `event` and `body` only. A finish reason without content is: the answer is whole.
Limits:  an event over max_event sets `overflow`, and nothing is read from there on.
Source:  contract §4, "Data path".

After the first content a stream says nothing new until it ends. So events that hold none of a few marking
words are not parsed; a word that stands in the answer's text only costs one parse. And an event that differs from one
before in nothing but its text is not even looked through (wire.text_event).
"""

from __future__ import annotations

from typing import Final

from sidecar.wire.dialect import Shape
from sidecar.wire.meaning import Meaning, StreamError, read_event
from sidecar.wire.sse import MAX_EVENT, EventReader
from sidecar.wire.text_event import TextEvent, text_event

__all__ = ["StreamError", "StreamReader"]

_ENDING: Final = ("error", "[DONE]")
_MARKS: Final[dict[Shape, tuple[str, ...]]] = {
    Shape.RESPONSES: (*_ENDING, "response.completed", "response.incomplete", "response.failed"),
    Shape.MESSAGES: (*_ENDING, "_tokens", "message_stop", "stop_reason"),
}
_OTHER_MARKS: Final = (*_ENDING, "_tokens")
# Times that a stream's events may begin to look otherwise: reasoning, then text, then a tool call.
_EXPECT: Final = 8


class StreamReader:
    """Reads one attempt's stream.

    progress       the first packet has come
    content        a delta with text, a tool call, a refusal, audio or reasoning has come
    finished       the answer has said that it ended: a finish or stop reason, [DONE], message_stop, …
    done_marker    the stream's true last event has come
    error          what the service reported as an error in its stream
    usage          prompt and completion tokens
    events         how many events have ended; the `sequence_number` of the next one of a Responses stream
    """

    __slots__ = (
        "_any_event",
        "_expecting",
        "_likely",
        "_marks",
        "_max_event",
        "_reader",
        "_shape",
        "content",
        "done_marker",
        "error",
        "events",
        "finished",
        "progress",
        "response_id",
        "usage",
    )

    def __init__(self, shape: Shape, first_packet_is: str = "content", max_event: int = MAX_EVENT) -> None:
        self._shape = shape
        self._any_event = first_packet_is in ("event", "body")  # and not only content
        self._marks = _MARKS.get(shape, _OTHER_MARKS)
        self._max_event = max_event
        self._reader = EventReader(max_event)
        self._likely: TextEvent | None = None
        self._expecting = _EXPECT
        self.progress = first_packet_is == "headers"
        self.content = False
        self.finished = False
        self.done_marker = False
        self.error: StreamError | None = None
        self.usage: tuple[int | None, int | None] = (None, None)
        self.response_id = ""
        self.events = 0

    @property
    def pending(self) -> int:
        """Bytes of an event that has not all come, or of one that is too large; 0 at an event boundary."""
        return self._reader.pending

    @property
    def overflow(self) -> bool:
        """An event was too large to be read; the stream is not followed any further."""
        return self._reader.overflow

    def feed(self, payload: bytes) -> bool:
        """Takes in the next bytes. True: they are whole events, behind whole events, that say nothing but more text."""
        settled = self.content and self.progress
        if settled and not self._reader.pending and len(payload) <= self._max_event:
            if (likely := self._likely) is not None and likely.is_like(payload):
                self.events += 1
                return True
            if payload.endswith(b"\n\n") and not self._marked(payload):
                self.events += payload.count(b"\n\n")
                self._expect_alike(payload)
                return True
        events = self._reader.feed(payload)
        self.events += len(events)
        if settled and not self._marked(payload):
            events = events[:1]  # only this one may have begun in an earlier read
        for event in events:
            if not settled or self._marked(event.data or b"") or self._marked(event.name or b""):
                self._take(read_event(self._shape, event))
                settled = self.content and self.progress
        return False

    def _expect_alike(self, payload: bytes) -> None:
        """Others like this one may come. Where none ever does, as with a number in each, this ends soon."""
        if self._expecting:
            self._expecting -= 1
            self._likely = text_event(payload)

    def _marked(self, data: bytes) -> bool:
        """Whether the data may say more than text: never a false no, at times a false yes."""
        text = data.decode("latin-1")  # for many searches: docs/adr/0008
        for mark in self._marks:
            if text.find(mark) >= 0:
                return True
        reasons = text.count("finish_reason")  # of `"finish_reason":null` every chunk has one
        nulls = text.count('finish_reason":null')
        return reasons != nulls and reasons > nulls + text.count('finish_reason": null')

    def _take(self, meaning: Meaning) -> None:
        self.content = self.content or meaning.content
        self.finished = self.finished or meaning.finished or meaning.last
        self.done_marker = self.done_marker or meaning.last
        self.error = self.error or meaning.error
        self.response_id = self.response_id or meaning.response_id
        prompt, completion = meaning.usage
        if prompt is not None or completion is not None:
            self.usage = (
                self.usage[0] if prompt is None else prompt,
                self.usage[1] if completion is None else completion,
            )
        if meaning.content or meaning.finished or (self._any_event and meaning.counts):
            self.progress = True
