"""The config file: found, read, sound; its secrets and TLS files there."""

from __future__ import annotations

from typing import NamedTuple

from llmsidecar.v1.config_pb2 import Config

from sidecar.admin.tls import tls_problems
from sidecar.cli.checkup.finding import Finding, fail, ok, warn
from sidecar.cli.checkup.machine import look_at_secret_files
from sidecar.policy import Lines, line_of, load, secrets_of
from sidecar.policy.yaml_nodes import MAX_BYTES
from sidecar.upstream.needs import missing


class Looked(NamedTuple):
    findings: list[Finding]
    config: Config | None  # None: there is none that could run


def look_at_config(path: str) -> Looked:
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        remedy = "name the daemon's config with --config FILE or $SIDECAR_CONFIG"
        return Looked([fail("config", f"{path}: cannot be read: {error.strerror}", remedy)], None)
    loaded = load(text)
    found = [
        warn("config", f"{path}:{w.line}: {w}", "it runs like this; change it unless you mean it")
        for w in loaded.warnings
    ]
    if loaded.problems:
        remedy = f"correct it; `sidecar check {path}` tells the same"
        found += [fail("config", f"{path}:{p.line}: {p}", remedy) for p in loaded.problems]
        return Looked(found, None)
    found.append(ok("config", f"{path}: good"))
    return Looked([*found, *_look_at_secrets(loaded.config, loaded.lines, path)], loaded.config)


def _look_at_secrets(config: Config, lines: Lines, path: str) -> list[Finding]:
    tls = config.admin.tls
    found = [
        fail("secrets", f"{path}:{line_of(lines, p.field)}: {p}", "correct the file, or the path to it")
        for p in tls_problems((tls.cert_file, tls.key_file, tls.client_ca_file))
    ]
    found += [
        fail("secrets", f"{path}:{p.line}: {p}", "in the daemon's environment, not only in this shell")
        for p in missing(config.policy, lines)
    ]
    found += look_at_secret_files(config.policy)
    if not found and (secrets := secrets_of(config.policy)):
        found.append(ok("secrets", f"{len(secrets)} of {len(secrets)} there"))
    return found
