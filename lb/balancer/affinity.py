"""Affinity: requests of one key go to few instances, as long as that delays them little. Pure.

By rendezvous (Thaler and Ravishankar, 1998) each key has an order of the instances that every
gateway finds by itself, and that changes only where an instance came or went. The first three are
looked at in that order; each is good enough while a request would take there at most a quarter
longer, or a millisecond, than where it would go without a key.
"""

from collections.abc import Collection, Iterable
from typing import Final

from lb.endpoints.endpoint import HASH_MASK, Endpoint, stable_hash

_MAX_CANDIDATES: Final = 3
_MAX_DELAY_RATIO: Final = 1.25
_SLACK_MS: Final = 1.0


def prefer_affine(
    endpoints: Iterable[Endpoint], picked: Endpoint, key: str, exclude: Collection[str], now: float
) -> Endpoint:
    """Return the instance for a request of a key that would go to `picked` without one.

    `exclude` are addresses tried before.
    """
    expected_ms = picked.expected_ms()
    max_ms = max(expected_ms * _MAX_DELAY_RATIO, expected_ms + _SLACK_MS)
    for endpoint in rendezvous_candidates(endpoints, key, exclude):
        if endpoint is picked or (endpoint.expected_ms() <= max_ms and endpoint.has_capacity(now)):
            return endpoint
    return picked


def rendezvous_candidates(
    endpoints: Iterable[Endpoint], key: str, exclude: Collection[str]
) -> list[Endpoint]:
    """Return the first three in the key's order, without those excluded."""
    key_hash = stable_hash(key)
    best: list[Endpoint] = []
    scores: list[int] = []
    for endpoint in endpoints:
        score = _mix_bits(endpoint.addr_hash ^ key_hash)
        if len(best) == _MAX_CANDIDATES and score <= scores[-1]:
            continue
        if endpoint.instance.addr in exclude:
            continue
        index = len(best)
        while index and score > scores[index - 1]:
            index -= 1
        best.insert(index, endpoint)
        scores.insert(index, score)
        if len(best) > _MAX_CANDIDATES:
            best.pop()
            scores.pop()
    return best


def _mix_bits(number: int) -> int:
    """Return a number of 31 bits, each bit of which hangs on all of the one given.

    A multiply-xorshift mix (Ettinger's "hash-prospector" has the like); products stay below 2^62,
    where integers of compiled Python are machine words.
    """
    number ^= number >> 16
    number = number * 0x2C1B3C6D & HASH_MASK
    number ^= number >> 12
    number = number * 0x297A2D39 & HASH_MASK
    return number ^ number >> 15
