"""Short ways to write the messages that tests of the clients and of the command line need."""

from __future__ import annotations

from llmsidecar.v1 import health_pb2, policy_pb2

START = 1_700_000_000  # Unix seconds of event number 0


def endpoint(
    service: str = "self-hosted", address: str = "10.0.0.7:8000", **fields: object
) -> health_pb2.Endpoint:
    made = health_pb2.Endpoint(
        service=service, endpoint=address, state=health_pb2.ENDPOINT_STATE_AVAILABLE, available=True
    )
    made.MergeFrom(health_pb2.Endpoint(**fields))  # type: ignore[arg-type]
    return made


def event(sequence: int, kind: str, /, **fields: object) -> health_pb2.HealthEvent:
    made = health_pb2.HealthEvent(sequence=sequence, type=kind)
    made.time.FromSeconds(START + sequence)
    body = getattr(made, kind)
    body.SetInParent()
    body.MergeFrom(type(body)(**fields))
    return made


def recovered(sequence: int) -> health_pb2.HealthEvent:
    return event(sequence, "service_recovered", service="self-hosted")


def policy(url: str = "http://127.0.0.1:8000/v1") -> policy_pb2.Policy:
    made = policy_pb2.Policy()
    service = made.services.add(name="self-hosted", url=url)
    service.timeouts.first_packet.FromMilliseconds(200)
    made.routes.add(services=["self-hosted"])
    return made
