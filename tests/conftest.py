"""What every test shares: the sources as they stand, and property tests without a time limit, for the machine may be
busy with others."""

from __future__ import annotations

import sys

from hypothesis import settings

from tests.compiled import remove_stale

if remove_stale():
    print(
        "compiled modules that were older than their sources are removed; make setup makes new ones",
        file=sys.stderr,
    )

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
