"""Affinity: requests of one key go to few instances, as long as that costs little delay. Pure.

Rendezvous hashing (Thaler and Ravishankar, 1998) gives each key an order of the instances. Every
gateway computes the same order, and an instance that joins or leaves does not change the order of
the others. The first three instances are candidates, in that order. A candidate is chosen if its
expected delay is at most a quarter, or one millisecond, longer than that of the instance that would
be picked without a key; the larger limit counts.
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
    """Return the endpoint for a request with `key` that would go to `picked` without a key.

    `exclude` are addresses tried before. A candidate other than `picked` must have capacity.
    """
    expected_ms = picked.expected_ms()
    max_ms = max(expected_ms * _MAX_DELAY_RATIO, expected_ms + _SLACK_MS)
    for endpoint in rendezvous_candidates(endpoints, key, exclude):
        if endpoint is picked or (endpoint.expected_ms() <= max_ms and endpoint.has_capacity(now)):
            return endpoint
    return picked


def key_fraction(key: str) -> float:
    """Return a number of a key, at least 0 and less than 1, that is the same at every gateway."""
    return _mix_bits(stable_hash(key)) / (HASH_MASK + 1)


def rendezvous_candidates(
    endpoints: Iterable[Endpoint], key: str, exclude: Collection[str]
) -> list[Endpoint]:
    """Return the first three endpoints in the order of `key` whose address is not in `exclude`."""
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
    """Return a 31-bit hash of `number`; each bit of it depends on all bits of `number`.

    This is a multiply-xorshift mix, as in Ettinger's "hash-prospector". Products stay below 2^62,
    so that they are machine words in compiled Python.
    """
    number ^= number >> 16
    number = number * 0x2C1B3C6D & HASH_MASK
    number ^= number >> 12
    number = number * 0x297A2D39 & HASH_MASK
    return number ^ number >> 15
