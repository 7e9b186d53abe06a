"""Which instance next: the one with the least expected work. Pure; chance is handed in.

Expected delay is S * (1 + max(0, q - C + 1) / C): its slot time S, its queue q and its licences C
(reference "load-balancing" 6.5.2).
"""

from collections.abc import Collection, Sequence
from random import Random
from statistics import median

from lb.table import Entry, State

# Delays this close are the same: the noise of an idle loader's S must not draw all traffic.
_ALIKE = 1.10


def expected_ms(entry: Entry, gateway: str, prior_ms: float) -> float:
    """Return the delay a request would meet there, in milliseconds.

    `prior_ms` stands for the slot time of an instance that has none yet.
    """
    capacity = entry.instance.total
    queue = entry.queue(gateway)
    slot = entry.load.service_ms or prior_ms
    return slot * (1 + max(0, queue - capacity + 1) / capacity + queue / capacity / 1000)


def pick(
    entries: Sequence[Entry], *, gateway: str, rng: Random, exclude: Collection[str] = ()
) -> Entry | None:
    """Return the instance to try next, None when there is nothing to try.

    Draining instances get nothing; suspects only when nobody better is there, since a lost report
    stream need not be a dead loader. Addresses in `exclude` were tried already. An instance that
    never served gets its first request at once.
    """
    here = [e for e in entries if e.instance.addr not in exclude]
    candidates = [e for e in here if e.state is State.UP]
    candidates = candidates or [e for e in here if e.state is State.SUSPECT]
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    fresh = [e for e in candidates if e.instance.epoch and not e.sent and not e.load.served]
    if fresh:
        return rng.choice(fresh)
    scores = rank(candidates, gateway)
    least = scores[0][0]
    return rng.choice([entry for score, entry in scores if score <= least * _ALIKE])


def rank(entries: Sequence[Entry], gateway: str) -> list[tuple[float, Entry]]:
    """Return (expected ms, entry), best first."""
    known = [e.load.service_ms for e in entries if e.load.service_ms]
    prior = median(known) if known else 1.0
    scores = [(expected_ms(entry, gateway, prior), entry) for entry in entries]
    return sorted(scores, key=lambda scored: scored[0])
