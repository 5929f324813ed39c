"""Scripted LLM services that are reached in other ways than by plain TCP."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from .llm import Answer, Llm


class SecureLlm(Llm):
    """Over TLS, as `https://localhost:…`."""

    def __init__(self, context: ssl.SSLContext, *answers: Answer) -> None:
        super().__init__(*answers)
        self._context = context

    async def __aenter__(self) -> SecureLlm:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    @property
    def url(self) -> str:
        return f"https://localhost:{self.address.partition(':')[2]}/v1"


class UnixLlm(Llm):
    """Over a Unix socket."""

    def __init__(self, path: Path, *answers: Answer) -> None:
        super().__init__(*answers)
        self._path = path

    async def __aenter__(self) -> UnixLlm:
        self._server = await asyncio.start_unix_server(self._serve, self._path)
        self.address = f"unix:{self._path}"
        return self
