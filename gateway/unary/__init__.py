"""One request, one response: the handler, its driver, the cycle on a connection."""
