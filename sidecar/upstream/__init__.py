"""The LLM's side: names to addresses, dialling, TLS, secrets, and connections that are used again.

In:      which endpoint, from the exchange.
Out:     a connection that carries one exchange at a time, or a Failure that says why there is none.
Rule:    a connection is used again only after an exchange that ended exactly where its framing said.
"""
