"""Configs that several tests of this room read."""

MINIMAL = """\
policy:
  services:
    - name: a
      url: http://127.0.0.1:9001/v1
  routes:
    - services: [a]
"""

# The example of the documentation, in full.
FULL = """\
listen: ["unix:/run/llm-sidecar/llm.sock", "127.0.0.1:8800"]
admin: {listen: ["unix:/run/llm-sidecar/admin.sock"]}
ops: {listen: ["127.0.0.1:8802"]}
socket_mode: "0660"
hosts: [localhost, 127.0.0.1]
state_dir: /var/lib/llm-sidecar
drain_timeout: 30s
telemetry:
  otlp_endpoint: http://127.0.0.1:4317
  sample_ratio: 0.01
limits: {max_request_body: 16MiB, max_header: 64KiB, max_connections: 4096,
         head_timeout: 10s, body_idle_timeout: 30s, keepalive_timeout: 75s}
policy:
  services:
    - name: self-hosted
      url: http://vllm.llm.svc:8000/v1
      model: DeepSeek-R1-Distill-Qwen-7B
      timeouts: {connect: 1s, first_packet: 200ms, idle: 20s, total: 10m}
      passive_health: {failure_percentage_threshold: 50, interval: 1s, base_ejection_time: 30s}
    - name: bailian
      url: https://dashscope.aliyuncs.com/compatible-mode/v1
      model: qwen-plus
      credential: {bearer: {env: DASHSCOPE_API_KEY}}
  routes:
    - services: [self-hosted, bailian]
"""
