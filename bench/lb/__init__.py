"""The load balancing bench: the simulator, the real processes, the cost of a pick."""
