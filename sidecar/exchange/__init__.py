"""One request in flight: what the plan decides is done here, and what happens is told to the plan.

The life of a request: Exchange asks the plan for an attempt; Attempt dials or reuses a connection and sends;
Gate holds the response back until its first packet; Relay passes the rest on; the record goes to the sinks.
"""
