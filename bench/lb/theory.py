"""Closed forms that the simulator is held to, and the limits that a policy cannot pass. Pure."""

from math import exp, log


def erlang_c(servers: int, load: float) -> float:
    """Return the probability of waiting in M/M/k; `load` is arrivals times service, in servers."""
    term = total = 1.0
    for k in range(1, servers):
        term *= load / k
        total += term
    last = term * load / servers * servers / (servers - load)
    return last / (total + last)


def mm_wait_mean(servers: int, rho: float, mean: float) -> float:
    """Return the mean wait of M/M/k, in the unit of `mean` (the service time)."""
    return erlang_c(servers, rho * servers) * mean / (servers * (1 - rho))


def mm_wait_quantile(servers: int, rho: float, mean: float, fraction: float) -> float:
    """Return the wait that `share` of the requests of M/M/k do not exceed."""
    wait_probability = erlang_c(servers, rho * servers)
    if wait_probability <= 1 - fraction:
        return 0.0
    return mean / (servers * (1 - rho)) * log(wait_probability / (1 - fraction))


def mm_response_quantile(servers: int, rho: float, mean: float, fraction: float) -> float:
    """Return the response time that `share` of the requests of M/M/k do not exceed."""
    wait_probability, service_rate = erlang_c(servers, rho * servers), 1 / mean
    drain_rate = servers * service_rate * (1 - rho)

    def tail_probability(time: float) -> float:
        if abs(drain_rate - service_rate) < 1e-12:
            return exp(-service_rate * time) * (1 + wait_probability * service_rate * time)
        delayed_tail = (
            drain_rate * exp(-service_rate * time) - service_rate * exp(-drain_rate * time)
        ) / (drain_rate - service_rate)
        return (1 - wait_probability) * exp(-service_rate * time) + wait_probability * delayed_tail

    low, high = 0.0, 1000 * mean
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if tail_probability(middle) > 1 - fraction else (low, middle)
    return high


def mg1_wait_mean(rho: float, mean: float, cv: float) -> float:
    """Return the mean wait of M/G/1, by Pollaczek and Khinchine; `cv`: of the service time."""
    return rho * mean * (1 + cv * cv) / (2 * (1 - rho))
