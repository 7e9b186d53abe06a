"""The policies of others, to compare with and to come from: by the same signature as ours. Pure.

Each as its source has it; reference "load-balancing" 1.2, 1.3, 2.1 to 2.3. All look at every
member, as the originals do, so a pick costs what it costs there.
"""

from collections.abc import Callable, Collection
from functools import partial
from heapq import heappop, heappush
from math import exp, inf
from random import Random
from typing import Final

from lb.entry import Entry
from lb.pick import OwnFirst
from lb.policy import Policy, Unlearned
from lb.pool import Pool


def _left(pool: Pool, exclude: Collection[str]) -> list[Entry]:
    """Return the members that were not tried before."""
    if not exclude:
        return pool.members
    return [entry for entry in pool.members if entry.instance.addr not in exclude]


class Chance(Unlearned):
    """Any of them."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def choose(self, pool: Pool, _now: float, exclude: Collection[str], /) -> Entry | None:
        """Return a random member."""
        left = _left(pool, exclude)
        return self._rng.choice(left) if left else None


class RoundRobin(Unlearned):
    """One after the other, from a random start."""

    def __init__(self, rng: Random) -> None:
        self._next = rng.randrange(1 << 16)

    def choose(self, pool: Pool, _now: float, exclude: Collection[str], /) -> Entry | None:
        """Return the next member."""
        left = _left(pool, exclude)
        if not left:
            return None
        self._next += 1
        return left[self._next % len(left)]


class LeastRequest(Unlearned):
    """The fewest own requests under way, of all; chance decides between equals."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def choose(self, pool: Pool, _now: float, exclude: Collection[str], /) -> Entry | None:
        """Return the member with the fewest own requests."""
        left = _left(pool, exclude)
        if not left:
            return None
        least = min([entry.inflight for entry in left])
        return self._rng.choice([entry for entry in left if entry.inflight == least])


class TwoChoices(Unlearned):
    """The fewer own requests of two drawn (Envoy's least request, gRPC A48)."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def choose(self, pool: Pool, _now: float, exclude: Collection[str], /) -> Entry | None:
        """Return the better of two."""
        left = _left(pool, exclude)
        if not left:
            return None
        one, two = self._rng.choice(left), self._rng.choice(left)
        return two if two.inflight < one.inflight else one


class _Peak:
    """The peak-sensitive mean of an instance's times, in seconds, and when it was taken."""

    __slots__ = ("at", "seconds")

    def __init__(self, seconds: float, at: float) -> None:
        self.seconds = seconds
        self.at = at


class PeakEwma:
    """The lesser of two by (peak mean of response times) x (own requests + 1): linkerd, tower.

    A slower response counts at once, faster ones with a decay of 10 s; before the first, 30 ms.
    """

    _DECAY_S: Final = 10.0
    _FIRST_S: Final = 0.03

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def choose(self, pool: Pool, _now: float, exclude: Collection[str], /) -> Entry | None:
        """Return the better of two."""
        left = _left(pool, exclude)
        if not left:
            return None
        one, two = self._rng.choice(left), self._rng.choice(left)
        return two if self._cost(two) < self._cost(one) else one

    def ended(self, entry: Entry, seconds: float, now: float, _good: bool, /) -> None:
        """Take in a response time."""
        peak = self._peak(entry)
        if seconds > peak.seconds:
            peak.seconds = seconds
        else:
            kept = exp(-(now - peak.at) / self._DECAY_S)
            peak.seconds = peak.seconds * kept + seconds * (1 - kept)
        peak.at = now

    def _cost(self, entry: Entry) -> float:
        return self._peak(entry).seconds * (entry.inflight + 1)

    def _peak(self, entry: Entry) -> _Peak:
        peak = entry.note
        if not isinstance(peak, _Peak):
            peak = entry.note = _Peak(self._FIRST_S, 0.0)
        return peak


class _Weight:
    """The weight of an instance by A58: what its last reports said, and since when they come.

    `used` adds up the utilisation that was told with each of `looks` answers.
    """

    __slots__ = ("at", "began", "looks", "served", "used", "weight")

    def __init__(self, served: int, at: float) -> None:
        self.served = served
        self.began = self.at = at
        self.weight = self.used = 0.0
        self.looks = 0


class OrcaWeighted:
    """Weighted round robin, weight = requests per second / (utilisation + errors): gRPC A58.

    Weights are brought up to date each second, begin after 10 s of reports, expire after 3 min;
    with fewer than two it is plain round robin. Earliest deadline first, random phases.
    """

    _UPDATE_S: Final = 1.0
    _BLACKOUT_S: Final = 10.0
    _EXPIRES_S: Final = 180.0

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._plain = RoundRobin(rng)
        self._updated = -inf
        self._queue: list[tuple[float, int, Entry, float]] = []
        self._pool: Pool | None = None

    def choose(self, pool: Pool, now: float, exclude: Collection[str], /) -> Entry | None:
        """Return the member whose turn it is."""
        if pool is not self._pool or now - self._updated >= self._UPDATE_S:
            self._update(pool, now)
        if exclude or not self._queue:
            return self._plain.choose(pool, now, exclude)
        due, number, entry, period = heappop(self._queue)
        heappush(self._queue, (due + period, number, entry, period))
        return entry

    def ended(self, entry: Entry, _seconds: float, now: float, _good: bool, /) -> None:
        """Take in the utilisation that goes with an answer."""
        told = self._told(entry, now)
        told.used += min(1.0, entry.load.running / entry.instance.best)
        told.looks += 1

    def _update(self, pool: Pool, now: float) -> None:
        self._pool, self._updated = pool, now
        weights = [self._weight(entry, now) for entry in pool.members]
        known = [weight for weight in weights if weight > 0]
        self._queue = []
        if len(known) < 2:
            return
        mean = sum(known) / len(known)
        for number, (entry, weight) in enumerate(zip(pool.members, weights, strict=True)):
            period = 1 / (weight or mean)
            heappush(self._queue, (self._rng.random() * period, number, entry, period))

    def _weight(self, entry: Entry, now: float) -> float:
        told = self._told(entry, now)
        if now - entry.seen > self._EXPIRES_S:
            return 0.0
        seconds = now - told.at
        if seconds >= self._UPDATE_S / 2:
            rate = (entry.load.served - told.served) / seconds
            used = told.used / told.looks if told.looks else 0.0
            told.weight = rate / used if used > 0 and rate > 0 else told.weight
            told.served, told.at = entry.load.served, now
            told.used, told.looks = 0.0, 0
        return told.weight if now - told.began >= self._BLACKOUT_S else 0.0

    def _told(self, entry: Entry, now: float) -> _Weight:
        told = entry.note
        if not isinstance(told, _Weight):
            told = entry.note = _Weight(entry.load.served, now)
        return told


class _Idle:
    """An instance's idle licences as the original keeps them: a report overwrites the count."""

    __slots__ = ("idle", "seq")

    def __init__(self) -> None:
        self.idle = 0
        self.seq = -1


class MostIdle(Unlearned):
    """The most idle licences, of all, the first of equals; one less until the next report.

    The original's strategies `load` and `loadMini`, which differ in what they answer to a query for
    many, not in whom they choose. An instance with none idle is chosen all the same.
    """

    def choose(self, pool: Pool, _now: float, exclude: Collection[str], /) -> Entry | None:
        """Return the member with the most idle licences."""
        best: Entry | None = None
        most = -inf
        for entry in _left(pool, exclude):
            idle = float(self._idle(entry).idle)
            if idle > most:
                best, most = entry, idle
        if best is not None:
            self._idle(best).idle -= 1
        return best

    def _idle(self, entry: Entry) -> _Idle:
        told = entry.note
        if not isinstance(told, _Idle):
            told = entry.note = _Idle()
        if told.seq != entry.load.seq:
            told.seq = entry.load.seq
            told.idle = entry.instance.best - entry.load.running - entry.load.queued
        return told


Probe = Callable[[Entry, Callable[[int, float], None]], None]


class _Probed:
    """What a probe told: requests in flight, latency in seconds; how often it may be used still."""

    __slots__ = ("at", "entry", "latency", "rif", "uses")

    def __init__(self, entry: Entry, rif: int, latency: float, at: float, uses: int) -> None:
        self.entry = entry
        self.rif = rif
        self.latency = latency
        self.at = at
        self.uses = uses


class Prequal(Unlearned):
    """Probing to reduce queuing and latency: asynchronous mode, as the paper has it (NSDI'24).

    Each request sends `rate` probes to random instances; a pool of 16 answers, at most 1 s old,
    each used a bounded number of times, one removed per request, the oldest and the worst by turns.
    Of
    the cold (in flight up to the 0.84 quantile) the one with the least latency; all hot: the fewest
    in flight; fewer than two: chance. `probe(entry, answer)` asks an instance, later `answer` is
    called with its requests in flight and its latency.
    """

    _POOL: Final = 16
    _AGE_S: Final = 1.0
    _HOT: Final = 0.84
    _REMOVE: Final = 1.0
    _DELTA: Final = 1.0
    _SEEN: Final = 256

    def __init__(self, rng: Random, probe: Probe, *, rate: int = 3) -> None:
        self._rng = rng
        self._probe = probe
        self._rate = rate
        self._pool: list[_Probed] = []
        self._seen: list[int] = []
        self._now = 0.0
        self._size = 1
        self._oldest = True

    def choose(self, pool: Pool, now: float, exclude: Collection[str], /) -> Entry | None:
        """Return who is best by the probes at hand, and send new ones."""
        members = _left(pool, exclude)
        if not members:
            return None
        self._now, self._size = now, len(pool.members)
        here = [
            probed for probed in self._pool
            if now - probed.at <= self._AGE_S and probed.entry.pool is pool
            and probed.entry.instance.addr not in exclude
        ]  # fmt: skip
        self._pool = here
        chosen = self._select(here) if len(here) >= 2 else None
        for entry in self._rng.sample(pool.members, min(self._rate, len(pool.members))):
            self._probe(entry, partial(self._answer, entry))
        if chosen is None:
            return self._rng.choice(members)
        chosen.uses -= 1
        chosen.rif += 1
        if chosen.uses <= 0:
            self._pool.remove(chosen)
        self._remove()
        return chosen.entry

    def _select(self, here: list[_Probed]) -> _Probed:
        hot = self._quantile()
        cold = [probed for probed in here if probed.rif <= hot]
        if cold:
            return min(cold, key=_latency)
        return min(here, key=_in_flight)

    def _quantile(self) -> float:
        if not self._seen:
            return inf
        ordered = sorted(self._seen)
        return ordered[min(len(ordered) - 1, int(self._HOT * len(ordered)))]

    def _answer(self, entry: Entry, rif: int, latency: float) -> None:
        self._seen.append(rif)
        if len(self._seen) > self._SEEN:
            del self._seen[0]
        if len(self._pool) >= self._most():
            del self._pool[0]
        self._pool.append(_Probed(entry, rif, latency, self._now, self._uses()))

    def _most(self) -> int:
        """Return the size of the pool: half a small fleet, or its answers would be everyone's."""
        return max(2, min(self._POOL, self._size // 2))

    def _uses(self) -> int:
        """Return how often a probe may be used, rounded by chance (the paper's equation 1)."""
        kept = (1 - self._most() / self._size) * self._rate - self._REMOVE
        uses = max(1.0, (1 + self._DELTA) / kept) if kept > 0 else float(self._POOL)
        whole = int(uses)
        return whole + (self._rng.random() < uses - whole)

    def _remove(self) -> None:
        """Take one out: the oldest and the worst by turns."""
        if not self._pool:
            return
        if self._oldest:
            del self._pool[0]
        else:
            hot = self._quantile()
            hottest = [probed for probed in self._pool if probed.rif > hot]
            worst = max(hottest, key=_in_flight) if hottest else max(self._pool, key=_latency)
            self._pool.remove(worst)
        self._oldest = not self._oldest


def _latency(probed: _Probed) -> float:
    return probed.latency


def _in_flight(probed: _Probed) -> int:
    return probed.rif


def policies(rng: Random, probe: Probe) -> dict[str, Callable[[], Policy]]:
    """Return every policy by its name in `lb.policy`; the first is the default."""
    return {
        "ours": lambda: OwnFirst(rng),
        "least_request": lambda: LeastRequest(rng),
        "p2c": lambda: TwoChoices(rng),
        "peak_ewma": lambda: PeakEwma(rng),
        "orca_wrr": lambda: OrcaWeighted(rng),
        "prequal": lambda: Prequal(rng, probe),
        "load": MostIdle,
        "loadMini": MostIdle,
        "poll": lambda: RoundRobin(rng),
        "round_robin": lambda: RoundRobin(rng),
        "random": lambda: Chance(rng),
    }
