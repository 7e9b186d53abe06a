"""Closed forms of queueing theory: they validate the simulator and bound every policy. Pure."""

from math import exp, log


def erlang_c(servers: int, load: float) -> float:
    """Return the probability that a request waits in M/M/k (Erlang C).

    `load` is the arrival rate times the mean service time; it must be less than `servers`.
    """
    term = total = 1.0
    for k in range(1, servers):
        term *= load / k
        total += term
    last = term * load / servers * servers / (servers - load)
    return last / (total + last)


def mm_wait_mean(servers: int, rho: float, mean: float) -> float:
    """Return the mean wait in M/M/k, in the unit of `mean`, the mean service time.

    `rho` is the load per server, less than 1.
    """
    return erlang_c(servers, rho * servers) * mean / (servers * (1 - rho))


def mm_wait_quantile(servers: int, rho: float, mean: float, fraction: float) -> float:
    """Return the quantile `fraction` of the wait in M/M/k, in the unit of `mean`."""
    wait_probability = erlang_c(servers, rho * servers)
    if wait_probability <= 1 - fraction:
        return 0.0
    return mean / (servers * (1 - rho)) * log(wait_probability / (1 - fraction))


def mm_response_quantile(servers: int, rho: float, mean: float, fraction: float) -> float:
    """Return the quantile `fraction` of the response time in M/M/k, in the unit of `mean`.

    Found by bisection between 0 and 1000 x `mean`.
    """
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
    """Return the mean wait in M/G/1 (Pollaczek and Khinchine), in the unit of `mean`.

    `cv` is the coefficient of variation of the service time.
    """
    return rho * mean * (1 + cv * cv) / (2 * (1 - rho))
