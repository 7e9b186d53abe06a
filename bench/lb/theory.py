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


def mm_wait_quantile(servers: int, rho: float, mean: float, share: float) -> float:
    """Return the wait that `share` of the requests of M/M/k do not exceed."""
    waiting = erlang_c(servers, rho * servers)
    if waiting <= 1 - share:
        return 0.0
    return mean / (servers * (1 - rho)) * log(waiting / (1 - share))


def mm_response_quantile(servers: int, rho: float, mean: float, share: float) -> float:
    """Return the response time that `share` of the requests of M/M/k do not exceed."""
    waiting, rate = erlang_c(servers, rho * servers), 1 / mean
    drain = servers * rate * (1 - rho)

    def beyond(time: float) -> float:
        if abs(drain - rate) < 1e-12:
            return exp(-rate * time) * (1 + waiting * rate * time)
        mixed = (drain * exp(-rate * time) - rate * exp(-drain * time)) / (drain - rate)
        return (1 - waiting) * exp(-rate * time) + waiting * mixed

    low, high = 0.0, 1000 * mean
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle) > 1 - share else (low, middle)
    return high


def mg1_wait_mean(rho: float, mean: float, cv: float) -> float:
    """Return the mean wait of M/G/1, by Pollaczek and Khinchine; `cv`: of the service time."""
    return rho * mean * (1 + cv * cv) / (2 * (1 - rho))
