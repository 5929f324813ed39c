"""The app's side: listeners, and one protocol per connection.

In:      HTTP/1.0 and 1.1 over Unix sockets and TCP.
Out:     whole requests to an exchange; the exchange's bytes back. What is malformed is refused here and never
         reaches an endpoint.
"""
