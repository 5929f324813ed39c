"""The sidecar beside nginx, HAProxy, Envoy and LiteLLM: speed, latency and size, in one run on two cores."""
