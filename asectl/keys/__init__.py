"""`asectl key`: the keys of callers, in the store that gateways read."""
