"""Rules of AdminClient, against a real gRPC server on a Unix socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import grpc
import pytest
from sidecar_client import AdminClient
from sidecar_client.errors import (
    AccessDenied,
    AdminError,
    InvalidArgument,
    NotFound,
    PolicyRejected,
    StaleEtag,
    Unreachable,
    Violation,
)

from tests.client.daemon import END, HOLD, Daemon, Script, running
from tests.client.messages import endpoint, event, policy, recovered


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with running(
        Daemon(policy=policy(), endpoints=[endpoint(), endpoint("bailian", "api:443")]), tmp_path
    ) as made:
        yield made


@pytest.fixture
def admin(daemon: Daemon) -> Iterator[AdminClient]:
    with AdminClient(daemon.address) as client:
        yield client


def test_a_policy_is_read_changed_and_written_back_under_its_etag(daemon: Daemon, admin: AdminClient) -> None:
    """The ordinary loop of a program that tunes a policy."""
    running_policy = admin.get_policy()
    running_policy.policy.services[0].timeouts.first_packet.FromMilliseconds(500)
    answer = admin.update_policy(
        running_policy.policy, etag=running_policy.etag, mask=["services"], revert_after=1.5, comment="slower"
    )
    assert (answer.generation, answer.reverts_at.seconds) == (2, 1_700_000_060)
    request = daemon.asked_last()
    assert list(request.update_mask.paths) == ["services"]
    assert request.revert_after.ToMilliseconds() == 1500
    assert request.comment == "slower"
    assert admin.get_policy().policy.services[0].timeouts.first_packet.ToMilliseconds() == 500
    assert admin.confirm().generation == 2
    assert [r.comment for r in admin.revisions()] == ["slower"]
    assert admin.rollback(1, comment="back").generation == 3


def test_a_whole_update_sends_neither_mask_nor_time(daemon: Daemon, admin: AdminClient) -> None:
    """An empty mask that is present would mean something else to some servers."""
    admin.update_policy(policy(), validate_only=True)
    request = daemon.asked_last()
    assert request.validate_only
    assert not request.HasField("update_mask")
    assert not request.HasField("revert_after")
    assert admin.get_policy().generation == 1


def test_a_rejected_policy_raises_with_every_violation(daemon: Daemon, admin: AdminClient) -> None:
    """One round trip shows all there is to mend."""
    daemon.violations = [("policy.services[0].url", "is no URL"), ("policy.routes", "is empty")]
    with pytest.raises(PolicyRejected) as caught:
        admin.update_policy(policy())
    assert caught.value.violations == (
        Violation("policy.services[0].url", "is no URL"),
        Violation("policy.routes", "is empty"),
    )
    assert "is no URL" in str(caught.value)
    assert isinstance(caught.value, InvalidArgument)


def test_a_stale_etag_raises(admin: AdminClient) -> None:
    """Somebody came between."""
    with pytest.raises(StaleEtag, match="etag-1 runs"):
        admin.update_policy(policy(), etag="etag-0")


def test_endpoints_are_listed_ejected_and_restored(daemon: Daemon, admin: AdminClient) -> None:
    """The manual override."""
    assert [e.service for e in admin.endpoints()] == ["self-hosted", "bailian"]
    assert [e.service for e in admin.endpoints(["bailian"])] == ["bailian"]
    assert not admin.eject("bailian", "api:443", 300).available
    assert daemon.asked_last().duration.seconds == 300
    admin.eject("bailian", "api:443")
    assert not daemon.asked_last().HasField("duration")
    assert admin.restore("bailian", "api:443").available


def test_an_unknown_endpoint_raises_not_found_in_the_daemons_words(admin: AdminClient) -> None:
    """The daemon knows what there is."""
    with pytest.raises(NotFound, match="no endpoint nowhere:1 in bailian"):
        admin.eject("bailian", "nowhere:1")


def test_a_bad_argument_of_another_call_is_no_rejected_policy(admin: AdminClient) -> None:
    """It has violations all the same."""
    with pytest.raises(InvalidArgument) as caught:
        admin.eject("bailian", "api:443", 0)
    assert not isinstance(caught.value, PolicyRejected)
    assert caught.value.violations == (Violation("duration", "is 0s; expected more"),)


def test_a_daemon_that_does_not_run_is_unreachable(tmp_path: Path) -> None:
    """The address is in the words, since a wrong one is the usual reason."""
    address = f"unix:{tmp_path}/none.sock"
    with AdminClient(address) as admin:
        with pytest.raises(Unreachable, match=r"none\.sock"):
            admin.get_policy()
        with pytest.raises(Unreachable):
            next(admin.events())


def test_events_come_in_order_over_as_many_connections_as_it_takes(
    daemon: Daemon, admin: AdminClient
) -> None:
    """However the connection ends, the next one asks for what comes behind the last event delivered."""
    daemon.scripts = [
        Script([event(10, "snapshot"), recovered(11)], END),
        Script([recovered(12)], grpc.StatusCode.UNAVAILABLE),
        Script([], grpc.StatusCode.INTERNAL),
        Script([recovered(13)], grpc.StatusCode.CANCELLED),
        Script(
            [event(20, "gap", first_missed=14, last_missed=20), event(20, "snapshot"), recovered(21)], HOLD
        ),
    ]
    lost: list[str] = []
    stream = admin.events(
        services=["self-hosted"], include_attempts=True, on_lost=lambda e, _: lost.append(e.code)
    )
    seen = [(e.type, e.sequence) for e in islice(stream, 7)]
    assert seen == [
        ("snapshot", 10),
        ("service_recovered", 11),
        ("service_recovered", 12),
        ("service_recovered", 13),
        ("gap", 20),
        ("snapshot", 20),
        ("service_recovered", 21),
    ]
    assert [request.after_sequence for request in daemon.asked] == [0, 11, 12, 12, 13]
    assert all(list(r.services) == ["self-hosted"] and r.include_attempts for r in daemon.asked)
    assert lost == ["UNAVAILABLE", "UNAVAILABLE", "INTERNAL", "CANCELLED"]


def test_a_daemon_that_restarts_is_found_again(tmp_path: Path) -> None:
    """The socket is another one by then; the position is not lost."""
    with AdminClient(f"unix:{tmp_path}/admin.sock") as admin:
        stream = admin.events()
        with running(Daemon(scripts=[Script([recovered(5)])]), tmp_path):
            assert next(stream).sequence == 5
        with running(Daemon(scripts=[Script([recovered(6)])]), tmp_path) as second:
            assert next(stream).sequence == 6
            assert second.asked_last().after_sequence == 5


def test_a_refused_watch_raises_instead_of_trying_for_ever(daemon: Daemon, admin: AdminClient) -> None:
    """No patience heals a missing permission."""
    daemon.scripts = [Script([recovered(1)], grpc.StatusCode.PERMISSION_DENIED)]
    stream = admin.events()
    assert next(stream).sequence == 1
    with pytest.raises(AccessDenied):
        next(stream)


def test_closing_the_client_ends_a_stream_that_waits(daemon: Daemon) -> None:
    """A thread that follows events has to be able to end."""
    admin = AdminClient(daemon.address)
    daemon.scripts = [Script([recovered(1)])]
    first, rest = threading.Event(), []

    def follow() -> None:
        for told in admin.events():
            rest.append(told.sequence)
            first.set()

    thread = threading.Thread(target=follow)
    thread.start()
    assert first.wait(10)
    admin.close()
    thread.join(10)
    assert not thread.is_alive()
    assert rest == [1]


def test_an_error_without_a_class_of_its_own_keeps_grpcs_word(daemon: Daemon, admin: AdminClient) -> None:
    """A program may want to know."""
    daemon.scripts = [Script([], grpc.StatusCode.UNIMPLEMENTED)]
    with pytest.raises(AdminError) as caught:
        next(admin.events())
    assert caught.value.code == "UNIMPLEMENTED"
