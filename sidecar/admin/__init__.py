"""The admin API: who is healthy and why, every change as it happens, and the policy as it may be changed.

convert     facts and states as protobuf messages; monotonic moments as wall time
hub         the numbered stream of events and its watchers
revisions   the policies that were accepted, and how they are written down
store       the one file they are kept in
policies    the running policy: check, accept, store, install, take back
services    the gRPC services; answers     their refusals
tls         the files of mutual TLS, tried before they are used
reflection  v1 and v1alpha; sockets     Unix sockets that are ours alone; server     all of it on its addresses

Rule:    `grpc` is imported in this room only.
"""
