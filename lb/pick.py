"""Which instance next: the one with the least expected work. Pure; chance is handed in.

Expected delay is S * (1 + max(0, q - C + 1) / C): its slot time S, its queue q and its licences C
(reference "load-balancing" 6.5.2).
"""

from collections.abc import Collection, Sequence
from math import inf
from random import Random
from statistics import median_low
from typing import Final

from lb.table import Entry, State

# A slot time is believed when this many requests told it, the last one so many seconds ago. A cold
# start, or a bad moment, must not mark a loader as slow for ever: nothing would be sent there to
# prove it wrong.
_ENOUGH: Final = 20
_FRESH_S: Final = 5.0
# Slot times this close to the fleet's are the fleet's: what is left is noise, and below a
# millisecond it is the network's.
_ALIKE: Final = 0.10
_ALIKE_MS: Final = 1.0


def slot_ms(entry: Entry, fleet_ms: float, now: float) -> float:
    """Return how long a licence is held at an instance, in milliseconds.

    `fleet_ms` is the slot time of its peers; it stands for an instance's own where that is told by
    few requests, or by none of late, or is much the same.
    """
    told = entry.load.service_ms
    believed = entry.load.served >= _ENOUGH and now - entry.worked <= _FRESH_S
    alike = abs(told - fleet_ms) <= fleet_ms * _ALIKE + _ALIKE_MS
    return told if believed and not alike else fleet_ms


def expected_ms(entry: Entry, fleet_ms: float, now: float) -> float:
    """Return the delay a request would meet at an instance, in milliseconds.

    Of instances without a queue, the less occupied one is better by a thousandth.
    """
    capacity = entry.instance.total
    queue = entry.queue()
    waiting = max(0, queue - capacity + 1) / capacity
    return slot_ms(entry, fleet_ms, now) * (1 + waiting + queue / capacity / 1000)


def rank(entries: Sequence[Entry], now: float) -> list[tuple[float, Entry]]:
    """Return (expected ms, entry), best first; equals keep their order."""
    fleet_ms = _fleet_ms(entries)
    scores = [(expected_ms(entry, fleet_ms, now), entry) for entry in entries]
    return sorted(scores, key=lambda scored: scored[0])


def pick(
    entries: Sequence[Entry], *, now: float, rng: Random, exclude: Collection[str] = ()
) -> Entry | None:
    """Return the instance to try next, None when there is nothing to try.

    Draining instances get nothing; suspects and those that could not be reached a moment ago only
    when nobody better is there: a lost report stream need not be a dead loader. Addresses in
    `exclude` were tried already. An instance that never served gets its first request at once.
    Chance decides between equals.
    """
    candidates = _candidates(entries, now, exclude)
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    fresh = [entry for entry in candidates if not entry.asked and _is_new(entry)]
    if fresh:
        return rng.choice(fresh)
    fleet_ms = _fleet_ms(candidates)
    best: list[Entry] = []
    least = inf
    for entry in candidates:
        score = expected_ms(entry, fleet_ms, now)
        if score < least:
            least, best = score, [entry]
        elif score == least:
            best.append(entry)
    return best[0] if len(best) == 1 else rng.choice(best)


def _fleet_ms(entries: Sequence[Entry]) -> float:
    known = [ms for entry in entries if (ms := entry.load.service_ms)]
    return median_low(known) if known else 1.0


def _candidates(entries: Sequence[Entry], now: float, exclude: Collection[str]) -> Sequence[Entry]:
    good, others = [], []
    for entry in entries:
        state = entry.state
        if state is State.DRAINING or (exclude and entry.instance.addr in exclude):
            continue
        if state is State.UP and entry.shunned <= now:
            good.append(entry)
        else:
            others.append(entry)
    return good or others


def _is_new(entry: Entry) -> bool:
    """Return whether nobody has asked an instance anything yet, as far as can be known."""
    untried = not entry.asked and not entry.load.served and not entry.queue()
    return untried and entry.instance.epoch != 0
