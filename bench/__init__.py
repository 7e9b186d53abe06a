"""Benchmarks: the cost of each step of a request, and the comparison with peers. See README.md."""
