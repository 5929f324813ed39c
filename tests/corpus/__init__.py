"""Raw bytes of both sides, each case with its source and its outcome, against the real daemon."""
