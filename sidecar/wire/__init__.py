"""The bytes of both sides, understood: heads, framing, event streams, first packets, dialects.

In:      bytes as they came, split anywhere.
Out:     parsed heads, payload, events, what they mean; bytes to send on.
Errors:  values; nothing here raises for what a peer sends.
"""
