"""What an update of the running policy needs: hiding secrets, putting them back, merging, telling versions apart.

In:      Policy messages.
Out:     new ones; what is given is never changed.
Rule:    merge and unredacted come before the checks, etag_of and redacted after them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.field_mask_pb2 import FieldMask
from llmsidecar.v1.policy_pb2 import Policy, Secret

from sidecar.digest import blake2b
from sidecar.policy.check import secrets_in, secrets_of
from sidecar.policy.credential_rules import HIDDEN
from sidecar.policy.problems import Problem, did_you_mean, quote

WHOLE = "*"


def redacted(policy: Policy) -> Policy:
    """The policy as it may be shown: every literal secret replaced by a mark."""
    shown = Policy()
    shown.CopyFrom(policy)
    for _, secret in secrets_of(shown):
        if secret.literal:
            secret.literal = HIDDEN
    return shown


def unredacted(policy: Policy, running: Policy) -> Policy:
    """Puts the running literal of the same-named service, and the same place in it, back where the mark stands.

    A mark without one is left, for the checks to refuse.
    """
    known = _by_place(running)
    whole = Policy()
    whole.CopyFrom(policy)
    for place, secret in _by_place(whole).items():
        if secret.literal == HIDDEN and place in known and known[place].literal:
            secret.literal = known[place].literal
    return whole


def etag_of(policy: Policy) -> str:
    """A name for exactly this policy: the same over restarts, protobuf releases and orders of map keys.

    Protobuf's own bytes promise none of that, so the JSON form is hashed.
    """
    from google.protobuf.json_format import MessageToDict  # here, since few starts compare or show a policy

    form = MessageToDict(policy, preserving_proto_field_name=True)
    text = json.dumps(form, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=16).hexdigest()


def merge(running: Policy, update: Policy, paths: Sequence[str]) -> Policy:
    """The running policy with the fields that `paths` names taken from `update`; no path, or `*`: all of them.

    A list is replaced as a whole: a FieldMask has no way to name one item of it. A path that names nothing is passed
    over here, and told by mask_problems.
    """
    merged = Policy()
    if _names_all(paths):
        merged.CopyFrom(update)
        return merged
    merged.CopyFrom(running)
    FieldMask(paths=filter(_is_path, paths)).MergeMessage(
        update, merged, replace_message_field=True, replace_repeated_field=True
    )
    return merged


def mask_problems(paths: Sequence[str]) -> list[Problem]:
    """One for each path that names nothing."""
    return [] if _names_all(paths) else [_unknown(path) for path in paths if not _is_path(path)]


def _names_all(paths: Sequence[str]) -> bool:
    return not paths or list(paths) == [WHOLE]


def _is_path(path: str) -> bool:
    return bool(FieldMask(paths=[path]).IsValidForDescriptor(cast(Descriptor, Policy.DESCRIPTOR)))


def _unknown(path: str) -> Problem:
    known = [field.name for field in Policy.DESCRIPTOR.fields]
    hint = did_you_mean(path, known) or f"; expected {', '.join(known)}, or {WHOLE} alone"
    return Problem("update_mask", f"{quote(path)} names no field of a policy that can be replaced{hint}")


def _by_place(policy: Policy) -> dict[tuple[str, str], Secret]:
    """Every secret by the name of its service and its path in it."""
    return {
        (service.name, path): secret
        for service in policy.services
        for path, secret in secrets_in(service, "")
    }
