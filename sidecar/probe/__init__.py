"""Probe: active checks of endpoints, and the timer that wakes the ledger at its next deadline.

Parts:   http (one probe over its own connection), prober (a schedule an endpoint), waker (the timer).
"""
