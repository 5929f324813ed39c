"""What share of plain successes leaves a trace, and whether apps decide about their own.

In:      `telemetry.sample_ratio` and the variables of OpenTelemetry's sampler.
Out:     a Sampler.
Source:  OpenTelemetry specification, SDK environment variables: OTEL_TRACES_SAMPLER and its ARG. What is not
         understood is told and otherwise ignored.
"""

from __future__ import annotations

from collections.abc import Mapping

from sidecar.frozen import Frozen

_PARENT_BASED = "parentbased_"
_SAMPLERS = ("always_on", "always_off", "traceidratio")


class Sampler(Frozen):
    """What becomes of plain successes."""

    ratio: float
    asks_app: bool = True  # an app that sends `traceparent` decides about its own
    ignored: str = ""  # what of the environment was not understood


def sampler(ratio: float, environ: Mapping[str, str], *, written: bool) -> Sampler:
    """The config file's `ratio`; where it is not written but a default, the environment goes before it."""
    if written:
        return Sampler(ratio)
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    if not name:
        return Sampler(ratio)
    kind = name.removeprefix(_PARENT_BASED)
    if kind not in _SAMPLERS:
        known = ", ".join([*_SAMPLERS, *(_PARENT_BASED + each for each in _SAMPLERS)])
        return Sampler(ratio, ignored=f"OTEL_TRACES_SAMPLER is {name}; expected one of {known}")
    asks_app = name.startswith(_PARENT_BASED)
    if kind != "traceidratio":
        return Sampler(float(kind == "always_on"), asks_app)
    text = environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
    share = _ratio(text)
    if share is None:
        return Sampler(1.0, asks_app, f"OTEL_TRACES_SAMPLER_ARG is {text}; expected a number from 0 to 1")
    return Sampler(share, asks_app)


def _ratio(text: str) -> float | None:
    """1 where nothing is written, as the specification has it; None for what is no ratio."""
    try:
        ratio = float(text) if text else 1.0
    except ValueError:
        return None
    return ratio if 0.0 <= ratio <= 1.0 else None
