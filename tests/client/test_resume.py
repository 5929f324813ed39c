"""Rules of sidecar_client.admin.resume."""

from __future__ import annotations

from random import Random

import pytest
from sidecar_client.admin.resume import LONGEST_DELAY, Resume, ended
from sidecar_client.errors import AccessDenied, AdminError, InvalidArgument, NotFound, Unreachable

from tests.client.messages import event, recovered


def resume(after: int = 0, *, wait_for_daemon: bool = True) -> Resume:
    return Resume(after, Random(7), wait_for_daemon=wait_for_daemon)


def test_the_stream_resumes_behind_the_last_event_that_was_delivered() -> None:
    """Neither twice nor skipped."""
    stream = resume(5)
    assert stream.after == 5
    stream.saw(recovered(6))
    assert stream.after == 6


def test_a_snapshot_sets_the_position_even_backwards() -> None:
    """A daemon that restarted with its clock set back numbers from there; the old position means nothing to it."""
    stream = resume(500)
    stream.saw(event(20, "snapshot"))
    assert stream.after == 20


def test_a_gap_moves_the_position_past_what_was_missed() -> None:
    """It has been told; asking again would only tell it again."""
    stream = resume(5)
    stream.saw(event(0, "gap", first_missed=6, last_missed=40))
    assert stream.after == 40


def test_finished_attempts_do_not_move_the_position() -> None:
    """They bear the number of another event, one that may not have been delivered yet."""
    stream = resume(5)
    stream.saw(event(9, "attempt_finished", service="a"))
    assert stream.after == 5


def test_the_wait_grows_to_a_limit_and_starts_anew_after_an_event() -> None:
    """A daemon that is away for an hour is not hammered; one that blinked is back at once."""
    stream = resume()
    waits = [stream.delay_after(ended()) for _ in range(40)]
    assert 0.05 <= waits[0] <= 0.1
    assert all(LONGEST_DELAY / 2 <= wait <= LONGEST_DELAY for wait in waits[10:])
    assert len(set(waits)) == 40  # no two watchers in step
    stream.saw(recovered(1))
    assert stream.delay_after(ended()) <= 0.1


def test_a_daemon_that_was_never_reached_is_not_waited_for_unless_asked() -> None:
    """A mistyped address should fail, not hang."""
    with pytest.raises(Unreachable):
        resume(wait_for_daemon=False).delay_after(Unreachable("nobody", "UNAVAILABLE"))
    known = resume(wait_for_daemon=False)
    known.saw(recovered(1))
    assert known.delay_after(Unreachable("nobody", "UNAVAILABLE")) > 0


@pytest.mark.parametrize(
    "error",
    [AccessDenied("no"), InvalidArgument("no"), NotFound("no"), AdminError("no", "UNIMPLEMENTED")],
)
def test_what_patience_cannot_heal_is_raised(error: AdminError) -> None:
    """Trying for ever would hide it."""
    with pytest.raises(type(error)):
        resume().delay_after(error)
