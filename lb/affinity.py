"""Affinity: requests of one key go to few instances, as long as that delays them little. Pure.

By rendezvous (Thaler and Ravishankar, 1998) each key has an order of the instances that every
gateway finds by itself, and that changes only where an instance came or went. The first three are
looked at in that order; each is good enough while a request would take there at most a quarter
longer, or a millisecond, than where it would go without a key.
"""

from collections.abc import Collection, Iterable
from typing import Final

from lb.entry import MASK, Entry, mark

_NEAREST: Final = 3
_BOUND: Final = 1.25
_SLACK_MS: Final = 1.0


def keep(
    entries: Iterable[Entry], picked: Entry, key: str, exclude: Collection[str], now: float
) -> Entry:
    """Return the instance for a request of a key that would go to `picked` without one.

    `exclude` are addresses tried before.
    """
    expected = picked.expected_ms()
    most = max(expected * _BOUND, expected + _SLACK_MS)
    for entry in nearest(entries, key, exclude):
        if entry is picked or (entry.expected_ms() <= most and entry.has_room(now)):
            return entry
    return picked


def nearest(entries: Iterable[Entry], key: str, exclude: Collection[str]) -> list[Entry]:
    """Return the first three in the key's order, without those excluded."""
    told = mark(key)
    best: list[Entry] = []
    scores: list[int] = []
    for entry in entries:
        score = _mixed(entry.mark ^ told)
        if len(best) == _NEAREST and score <= scores[-1]:
            continue
        if entry.instance.addr in exclude:
            continue
        spot = len(best)
        while spot and score > scores[spot - 1]:
            spot -= 1
        best.insert(spot, entry)
        scores.insert(spot, score)
        if len(best) > _NEAREST:
            best.pop()
            scores.pop()
    return best


def _mixed(number: int) -> int:
    """Return a number of 31 bits, each bit of which hangs on all of the one given.

    A multiply-xorshift mix (Ettinger's "hash-prospector" has the like); products stay below 2^62,
    where integers of compiled Python are machine words.
    """
    number ^= number >> 16
    number = number * 0x2C1B3C6D & MASK
    number ^= number >> 12
    number = number * 0x297A2D39 & MASK
    return number ^ number >> 15
