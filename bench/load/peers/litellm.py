"""LiteLLM's proxy as lean as it can be told to be: one worker, no database, no logging, no callbacks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from bench.load.peers.base import Kind, Serving, Setting
from bench.load.peers.install import LITELLM, environment
from bench.load.process import running
from bench.load.tools import CONTENDER

QUIET = {"version": 1, "disable_existing_loggers": True, "root": {"level": "CRITICAL"}}
ENVIRONMENT = {
    "LITELLM_LOG": "CRITICAL",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",
    "NO_DOCS": "True",
    "DISABLE_ADMIN_UI": "True",
}


@contextmanager
def litellm(at: Setting) -> Iterator[Serving]:
    config, logging = at.folder / "litellm.yaml", at.folder / "logging.json"
    config.write_text(yaml.safe_dump(_config(at)))
    logging.write_text(json.dumps(QUIET))
    command = [environment(LITELLM) / "bin" / "litellm", "--config", config, "--log_config", logging]
    command += ["--host", "127.0.0.1", "--port", str(at.port), "--num_workers", "1", "--telemetry", "False"]
    log = at.folder / "log"
    with running(command, core=CONTENDER, ready=at.ready, within=120, log=log, env=ENVIRONMENT) as process:
        yield at.served_by(process)


def _config(at: Setting) -> dict[str, Any]:
    def model(name: str, port: int) -> dict[str, Any]:
        target = {"model": "openai/m", "api_base": f"http://127.0.0.1:{port}/v1", "api_key": "sk-1"}
        return {"model_name": name, "litellm_params": target}

    config: dict[str, Any] = {
        "model_list": [model("m", at.upstream.answering)],
        "litellm_settings": {"telemetry": False, "num_retries": 0, "request_timeout": 60},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }
    if at.kind is Kind.FALLBACK:
        config["model_list"] = [model("m", at.upstream.failing), model("second", at.upstream.answering)]
        config["router_settings"]["fallbacks"] = [{"m": ["second"]}]
    return config
