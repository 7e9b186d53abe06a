"""The interface of the original load balancer."""
