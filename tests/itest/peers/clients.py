"""grpcurl: the gRPC command line client that people try the admin API with; one static binary."""

from pathlib import Path

from tests.itest.peers.install import built, go

GRPCURL = "v1.9.4"


def grpcurl() -> Path:
    def build(work: Path) -> Path:
        package = f"github.com/fullstorydev/grpcurl/cmd/grpcurl@{GRPCURL}"
        go(work, "install", "-trimpath", "-ldflags=-s -w", package, GOBIN=str(work))
        return work / "grpcurl"

    return built("grpcurl", GRPCURL, build)
