"""The small languages inside texts of a policy: names, urls, header fields, statuses, globs, paths.

In:      one text.
Out:     a parsed value, or the words for what is wrong with it (`… ; expected …`), or None where all is well.
Errors:  BadValue from the two parsers; the rest return words.
Source:  RFC 3986 (urls, without user info, query and fragment), RFC 9110 section 5 (field names and values).
"""

from __future__ import annotations

import re

from sidecar.failure import FailureKind, face
from sidecar.policy.problems import quote
from sidecar.policy.snapshot import Url
from sidecar.policy.units import BadValue

DEFAULT_PORTS = {"http": 80, "https": 443}

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<rest>.*)")
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{1,5}))?")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*")
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_FIELD_VALUE = re.compile(r"[!-~](?:[ -~\t]*[!-~])?")
_BYTE = re.compile(r"0|[1-9][0-9]{0,2}")
_STATUSES = re.compile(r"([1-5][0-9][0-9])(?:-([1-5][0-9][0-9]))?")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?P<authority>[^/?#@]+)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")

# The sidecar writes these itself; another value would break framing, tracing or the view of the first packet.
RESERVED_HEADERS = frozenset(
    {
        *("host", "content-length", "transfer-encoding", "te", "trailer", "expect", "upgrade"),
        *("connection", "keep-alive", "proxy-connection"),
        *("accept-encoding", "traceparent", "tracestate"),
    }
)
RESERVED_PREFIX = "x-sidecar-"

FALLBACK_WORDS = frozenset(word for kind in FailureKind if (word := face(kind).fallback_word) is not None)


def name_fault(text: str) -> str | None:
    if _NAME.fullmatch(text):
        return None
    return f"{quote(text)} is no name; expected 1 to 64 letters, digits, dots, underscores or hyphens"


def parse_url(text: str, example: str = "a base URL such as http://host:8000/v1") -> Url:
    """A service's base URL, or another that is no more than that; raises BadValue."""
    given = quote(text) if "@" not in text else "the url"  # a password may stand before the @
    match = _URL.fullmatch(text)
    if match is None or match["scheme"].lower() not in DEFAULT_PORTS:
        raise BadValue(f"{given} does not start with http:// or https://; expected {example}")
    if "@" in match["authority"]:
        raise BadValue(f"has user info before its host; expected {example}")
    if match["rest"]:
        raise BadValue(f"has a query or a fragment; expected {example}")
    authority = _AUTHORITY.fullmatch(match["authority"])
    if authority is None or not is_host(authority["host"]):
        raise BadValue(f"{given} has no valid host; expected {example}")
    if not _PATH.fullmatch(match["path"]):
        raise BadValue(f"{given} has a path with characters that no url may have; expected {example}")
    scheme = match["scheme"].lower()
    port = int(authority["port"] or DEFAULT_PORTS[scheme])
    if not 1 <= port <= 65535:
        raise BadValue(f"{given} has port {port}; expected a port from 1 to 65535")
    host = authority["host"].lower()
    return Url(
        scheme=scheme,
        host=host.strip("[]"),
        port=port,
        path=match["path"].rstrip("/"),
        authority=host if port == DEFAULT_PORTS[scheme] else f"{host}:{port}",
    )


def is_host(text: str) -> bool:
    """A host name, an IPv4 address, or an IPv6 address in brackets."""
    if text.startswith("["):
        return text.endswith("]") and _is_ipv6(text[1:-1])
    if text.replace(".", "").isdigit():
        return _is_ipv4(text)
    return _HOST.fullmatch(text) is not None and ".." not in text


def is_ip(text: str) -> bool:
    """An IPv4 address, or an IPv6 address without brackets: nothing has to be resolved."""
    return _is_ipv6(text) if ":" in text else _is_ipv4(text)


def origin_fault(text: str) -> str | None:
    match = _ORIGIN.fullmatch(text.lower())
    authority = _AUTHORITY.fullmatch(match["authority"]) if match else None
    if authority is not None and is_host(authority["host"]):
        return None
    return f"{quote(text)} is no origin; expected scheme://host or scheme://host:port, without a path"


def path_fault(text: str, *, query: bool = False) -> str | None:
    """What is wrong with an absolute path; a query is part of some."""
    path, mark, asked = text.partition("?")
    good = text.startswith("/") and _PATH.fullmatch(path) and (query or not mark)
    if good and _PATH.fullmatch("/" + asked.replace("?", "")):
        return None
    return f"{quote(text)} is no path; expected a path that starts with /, without spaces"


def header_name_fault(text: str) -> str | None:
    if _TOKEN.fullmatch(text):
        return None
    return f"{quote(text)} is no name of a header field; expected letters, digits and hyphens"


def reserved_header_fault(text: str) -> str | None:
    if text.lower() in RESERVED_HEADERS or text.lower().startswith(RESERVED_PREFIX):
        return f"{quote(text)} is set by the sidecar itself; expected another header field"
    return None


def header_value_fault(text: str) -> str | None:
    """The value is not quoted: it may be a secret."""
    if _FIELD_VALUE.fullmatch(text):
        return None
    return "is no value of a header field; expected printable ASCII without space at its ends"


def parse_statuses(text: str) -> tuple[int, int]:
    """`200` or `200-299` as an inclusive range; raises BadValue."""
    match = _STATUSES.fullmatch(text)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if low > high:
        raise BadValue(
            f"{quote(text)} is no status; expected a status such as 200 or a range such as 200-299"
        )
    return low, high


def is_fallback_word(text: str) -> bool:
    """A word of the failure kinds, or a single status."""
    match = _STATUSES.fullmatch(text)
    return text in FALLBACK_WORDS or (match is not None and match[2] is None)


def glob_fault(text: str) -> str | None:
    if len(text) > 256:
        return f"{quote(text)} is over 256 characters; expected a glob such as gpt-*"
    if text.count("[") != text.count("]"):
        return f"{quote(text)} has a bracket without its pair; expected a glob such as gpt-* or gpt-[34]*"
    return None


def rate_limit_key_fault(text: str) -> str | None:
    """Of a word in the `by` of a rate limit."""
    if text in ("model", "api_key", "uid"):
        return None
    if text.startswith("header:") and text != "header:":
        return header_name_fault(text.removeprefix("header:"))
    return f"{quote(text)} is not known; expected model, api_key, uid or header:NAME"


def variable_fault(text: str) -> str | None:
    """The text is not quoted: people put the secret itself there."""
    return (
        None
        if _VARIABLE.fullmatch(text)
        else "is no name of an environment variable; expected one such as API_KEY"
    )


def _is_ipv4(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(_BYTE.fullmatch(part) and int(part) <= 255 for part in parts)


def _is_ipv6(text: str) -> bool:
    from ipaddress import IPv6Address  # here, for few addresses are of this kind

    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
