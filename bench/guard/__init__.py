"""What a request and a chunk cost in counts that are the same on every machine; `make test` compares them."""
