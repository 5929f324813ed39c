"""The demo: simulated LLM services, a load that surges on a schedule, and the story told meanwhile.

Knows nothing of the daemon: `sidecar.cli.demo` joins the two.
"""
