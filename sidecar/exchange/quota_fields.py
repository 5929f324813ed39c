"""What an app is told of the rate limits of its route, in the fields that OpenAI's API uses.

In:      how the tightest buckets stand.
Out:     `x-ratelimit-*` header lines.
Source:  OpenAI's guide on rate limits: `x-ratelimit-reset-requests: 6m0s`, whole numbers for limit and remaining.
"""

from __future__ import annotations

from math import ceil, floor

from sidecar.quota.quota import Standing, Taken, Wait


def quota_fields(of: Taken | Wait) -> str:
    return _lines("requests", of.requests) + _lines("tokens", of.tokens)


def _lines(kind: str, standing: Standing | None) -> str:
    if standing is None:
        return ""
    return (
        f"x-ratelimit-limit-{kind}: {floor(standing.limit)}\r\n"
        f"x-ratelimit-remaining-{kind}: {floor(standing.remaining + 1e-6)}\r\n"
        f"x-ratelimit-reset-{kind}: {_length(standing.reset)}\r\n"
    )


def _length(seconds: float) -> str:
    """As Go writes a duration: `120ms`, `1.5s`, `6m0s`."""
    millis = ceil(seconds * 1000)
    if millis < 1000:
        return f"{millis}ms"
    minutes, rest = divmod(millis / 1000, 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"
