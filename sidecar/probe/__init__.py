"""Probe: active checks of endpoints, and the timer that wakes the ledger at its next deadline.

Parts:   http (one probe over its own connection), prober (when they are sent), queue_length (what an LLM
         server says of its queue), schedules (a task an endpoint), waker (the timer).
"""
