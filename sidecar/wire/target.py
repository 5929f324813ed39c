"""The target of a request: path, query and host, for every form it may take.

In:      method, target and Host field as sent.
Out:     path, query (with its `?`) and host, or the words that say what is wrong.
Rule:    a path that some server would resolve to another one is refused: dot segments, in plain or encoded,
         between slashes of any spelling. All else, encoded slashes too, is left as it came.
Source:  RFC 9112 3.2, RFC 9110 7.2; characters by RFC 3986, and in a query also those that browsers and Node
         leave unescaped there.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_PATH_CHARS: Final = rb"[A-Za-z0-9\-._~!$&'()*+,;=:@/]*"
_PATH: Final = rb"(/" + _PATH_CHARS + rb"(?:%[0-9A-Fa-f]{2}" + _PATH_CHARS + rb")*)"
_QUERY: Final = rb"(\?[!$-;=?-~]*)"
_ORIGIN_FORM: Final = re.compile(_PATH + _QUERY + rb"?")
_ABSOLUTE_FORM: Final = re.compile(rb"(?i:https?)://([^/?#@]+)" + _PATH + rb"?" + _QUERY + rb"?")
_HOST: Final = re.compile(rb"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._~-]*))(?::[0-9]{0,5})?")
_DOT_SEGMENT: Final = re.compile(rb"(?i)(?:/|%2f|%5c)(?:\.|%2e){1,2}(?:/|%2f|%5c|;|%3b|$)")


@lru_cache(maxsize=64)  # apps ask for few targets, again and again
def read_target(method: bytes, target: bytes, host_field: bytes) -> tuple[bytes, bytes, str] | str:
    """Path, query and host that a target comes to, or what is wrong with it."""
    host = _host_name(host_field)
    if host is None:
        return "has a Host that is no host name"
    if target == b"*":
        return (b"*", b"", host) if method == b"OPTIONS" else "has the target * without OPTIONS"
    if match := _ORIGIN_FORM.fullmatch(target):
        path, query = match.groups(b"")
    elif match := _ABSOLUTE_FORM.fullmatch(target):
        authority, path, query = match.groups(b"")
        host = _host_name(authority)  # in place of the Host field (9112 3.2.2)
        if not host:
            return "has a target whose host is no host name"
        path = path or (b"*" if method == b"OPTIONS" and not query else b"/")  # 9112 3.2.4
    else:
        return "has a target that is neither a path nor an http URL"
    if (b"/." in path or b"%" in path) and _DOT_SEGMENT.search(path):
        return "has a path with dot segments"
    return path, query, host


def _host_name(authority: bytes) -> str | None:
    """In lower case, without port and brackets; None: it is none. Empty is allowed (9112 3.2)."""
    match = _HOST.fullmatch(authority)
    if match is None:
        return None
    return (match[1] or match[2] or b"").decode().lower()
