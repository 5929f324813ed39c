"""The room of the policy: reads it, checks it, freezes it. Pure: no clock, no I/O.

In:      the bytes of a file (load, load_policy), or messages of the admin API and the state folder.
Out:     problems, all at once, with field path and line; else Settings and a numbered, frozen Snapshot.

    load(text)                     a config file to a checked Config
    check_policy, check_config     the same checks for messages from anywhere
    build_settings, build_snapshot checked messages to what the running system reads
    merge, unredacted, redacted, etag_of, secrets_of    what an update over the admin API needs

The schema is proto/llmsidecar/v1; its `(rule)` options hold the defaults and bounds of every field. The order of
modules: units and problems; rules; yaml_nodes and yaml_file; syntax, fields and the *_rules; check; build; change.
"""

from sidecar.policy.build import DEFAULT_FALLBACK_ON, build_settings, build_snapshot
from sidecar.policy.change import etag_of, mask_problems, merge, redacted, unredacted
from sidecar.policy.check import check_config, check_policy, secrets_of
from sidecar.policy.credential_rules import HIDDEN
from sidecar.policy.loading import Loaded, LoadedPolicy, load, load_policy
from sidecar.policy.problems import Checked, Lines, Problem, line_of

__all__ = [
    "DEFAULT_FALLBACK_ON",
    "HIDDEN",
    "Checked",
    "Lines",
    "Loaded",
    "LoadedPolicy",
    "Problem",
    "build_settings",
    "build_snapshot",
    "check_config",
    "check_policy",
    "etag_of",
    "line_of",
    "load",
    "load_policy",
    "mask_problems",
    "merge",
    "redacted",
    "secrets_of",
    "unredacted",
]
