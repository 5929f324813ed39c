"""Which services may answer a request, in which order, and which of their endpoints is asked.

`match` finds the route, `pick` chooses among endpoints in rotation, `candidates` joins the two
into what the plan of a request asks. Health is known only through the Endpoint protocol.
"""
