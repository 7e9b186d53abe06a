"""Picking an endpoint: policies, affinity, the pending queue, the retry budget."""
