"""At length: `python -m tests.forms FIRST LAST [PLAY ...]` plays these seeds on both forms."""

from __future__ import annotations

import sys

from tests.forms.both import PLAYS, compare

AT_A_TIME = 50

first, last, plays = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] or PLAYS
count = 0
for seed in range(first, last, AT_A_TIME):
    count += compare(seed, min(seed + AT_A_TIME, last), plays)
    print(count, "scripts were the same in both forms", flush=True)
