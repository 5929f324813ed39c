"""Quota: how many requests and tokens per time a route lets in, or a service is given.

In:      the rate limits of a route or a service; who asks, for how much, at what moment.
Out:     let in, with what is left; or refused, with how long to wait.
Parts:   bucket (one count), quota (the buckets of all limits, by consumer).
"""
