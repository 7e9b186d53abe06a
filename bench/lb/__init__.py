"""The load-balancing benches: the simulator, real processes, and the cost of a pick."""
