"""Telemetry: what is told of requests and changes, as sinks of records and health events.

Parts:   metrics (counts), exposition (their text), loop_lag; access_log and changes (what the lines say),
         lines and output (how they are written); sampling, spans, otlp and tracing (what is exported).
"""
