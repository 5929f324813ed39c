"""The files of the live page, by the path they are served at; read once, when this module is imported."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).with_name("static")


class Asset(NamedTuple):
    body: bytes
    content_type: str


def _asset(name: str, content_type: str) -> Asset:
    return Asset((_FOLDER / name).read_bytes(), content_type)


ASSETS = {
    "/": _asset("page.html", "text/html; charset=utf-8"),
    **{
        f"/{name}.js": _asset(f"{name}.js", "text/javascript; charset=utf-8")
        for name in ("app", "build", "charts", "policy", "services", "words")
    },
    "/app.css": _asset("app.css", "text/css; charset=utf-8"),
    "/icon.svg": _asset("icon.svg", "image/svg+xml"),
}
