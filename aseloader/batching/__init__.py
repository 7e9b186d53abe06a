"""Batches of requests for a wrapper with `batch`: when one starts, and who is in it."""
