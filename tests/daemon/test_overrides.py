"""Ejection by hand is a change of state like any other: everybody who tells of those tells of it."""

from __future__ import annotations

from pathlib import Path

import httpx
from llmsidecar.v1 import health_pb2 as pb
from prometheus_client.parser import text_string_to_metric_families

from tests.itest.stage import config

from .admin import health
from .process import Process, running
from .sidecar import free_port

CHANGES = ["endpoint_ejected", "service_unavailable", "endpoint_returned", "service_recovered"]


def test_an_override_is_in_the_log_the_counts_the_page_and_the_stream(tmp_path: Path) -> None:
    """An operator who finds an endpoint out of rotation looks into the log first."""
    address = f"127.0.0.1:{free_port()}"
    written = config(tmp_path, {"name": "own", "url": f"http://{address}/v1"})
    with running(written, tmp_path) as process, health(process.admin[0]) as stub:
        before = stub.ListEndpoints(pb.ListEndpointsRequest()).sequence
        stub.EjectEndpoint(pb.EjectEndpointRequest(service="own", endpoint=address))
        ejected = process.wait_for("endpoint_ejected")
        assert (ejected["endpoint"], ejected["reason"], ejected["until"]) == (address, "manual", None)
        stub.RestoreEndpoint(pb.RestoreEndpointRequest(service="own", endpoint=address))
        assert process.wait_for("endpoint_returned")["reason"] == "manual"
        process.wait_for("service_recovered", service="own")
        assert ejections(process) == {("own", address, "manual"): 1}
        told = httpx.get(f"http://{process.ops[0]}/api/state").json()["events"]
        newest_first = [event["event"] for event in told if event["event"] in CHANGES]
        assert newest_first == CHANGES[::-1]
        watch = stub.WatchHealthEvents(pb.WatchHealthEventsRequest(after_sequence=before))
        assert [next(watch).type for _ in CHANGES] == CHANGES
        watch.cancel()


def ejections(process: Process) -> dict[tuple[str, str, str], float]:
    text = httpx.get(f"http://{process.ops[0]}/metrics").text
    [family] = [f for f in text_string_to_metric_families(text) if f.name == "sidecar_ejections"]
    return {(s.labels["service"], s.labels["endpoint"], s.labels["reason"]): s.value for s in family.samples}
