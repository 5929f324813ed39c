"""Health: what the sidecar thinks of every endpoint, from the app's own traffic and from probes.

In:      attempts as they start and finish, probe results, an operator's wishes; each with `now`.
Out:     answers for the pick (EndpointHealth), health events, statuses, and when to be woken next.
Parts:   window (counts of late), outlier (passive rules), active (rise and fall), endpoint (one
         endpoint's state), rotation (how it leaves and comes back), group (those of a service),
         ledger (all of them; joins and tells).
"""
