"""The LLM high-availability sidecar.

The life of a request:

1. downstream reads a whole request of the app and refuses what is malformed.
2. route finds the rule for it under the policy snapshot of that moment.
3. attempt plans: which service and endpoint first, and where to go when that fails.
4. upstream reuses or dials a connection; the head is rewritten for the service, the body passes as it is.
5. exchange's gate holds everything back until the first packet that is progress for the app.
6. Late, refused, reset, failing or empty: the attempt is cancelled and the plan names the next.
7. The first packet commits: head and bytes go to the app, from this attempt only.
8. The relay passes the rest on as it comes and ends a broken stream so that the app can tell.
9. record keeps the facts; health hears one verdict an attempt and ejects or returns endpoints.
10. telemetry makes log lines, metrics and spans of the record; admin tells the events.
"""

__version__ = "0.1.0"
