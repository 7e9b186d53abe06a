"""Policies of other products, for comparison and for migration, with our signature. Pure.

Each policy follows its source (`docs/load-balancing.md`), and a pick costs what it costs there:
LeastRequest and MostIdle scan every member.
"""

from collections.abc import Callable, Collection
from functools import partial
from heapq import heappop, heappush
from math import exp, inf
from random import Random
from typing import Final

from lb.balancer.least_expected_delay import LeastExpectedDelay
from lb.balancer.policy import Policy, StatelessPolicy
from lb.endpoints.candidates import Pool
from lb.endpoints.endpoint import Endpoint


def _eligible_members(pool: Pool, exclude: Collection[str]) -> list[Endpoint]:
    """Return the members whose address is not in `exclude`."""
    if not exclude:
        return pool.members
    return [endpoint for endpoint in pool.members if endpoint.instance.addr not in exclude]


class RandomChoice(StatelessPolicy):
    """A random member."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def choose(self, pool: Pool, _now: float, exclude: Collection[str], /) -> Endpoint | None:
        """Return a random member."""
        eligible = _eligible_members(pool, exclude)
        return self._rng.choice(eligible) if eligible else None


class RoundRobin(StatelessPolicy):
    """Each member in turn, from a random start."""

    def __init__(self, rng: Random) -> None:
        self._next_index = rng.randrange(1 << 16)

    def choose(self, pool: Pool, _now: float, exclude: Collection[str], /) -> Endpoint | None:
        """Return the next member in rotation that is not in `exclude`."""
        eligible = _eligible_members(pool, exclude)
        if not eligible:
            return None
        self._next_index += 1
        return eligible[self._next_index % len(eligible)]


class LeastRequest(StatelessPolicy):
    """The member with the fewest own requests in flight, of all; ties are broken at random."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def choose(self, pool: Pool, _now: float, exclude: Collection[str], /) -> Endpoint | None:
        """Return a random member of those with the fewest own requests in flight."""
        eligible = _eligible_members(pool, exclude)
        if not eligible:
            return None
        fewest = min([endpoint.inflight for endpoint in eligible])
        return self._rng.choice([endpoint for endpoint in eligible if endpoint.inflight == fewest])


class PowerOfTwoChoices(StatelessPolicy):
    """The member with fewer own requests in flight, of two drawn (Envoy, gRFC A48)."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def choose(self, pool: Pool, _now: float, exclude: Collection[str], /) -> Endpoint | None:
        """Return the member with fewer own requests in flight, of two random ones."""
        eligible = _eligible_members(pool, exclude)
        if not eligible:
            return None
        first, second = self._rng.choice(eligible), self._rng.choice(eligible)
        return second if second.inflight < first.inflight else first


class _PeakLatency:
    """The peak-sensitive mean of response times in seconds, and the time of its last update."""

    __slots__ = ("seconds", "updated_at")

    def __init__(self, seconds: float, updated_at: float) -> None:
        self.seconds = seconds
        self.updated_at = updated_at


class PeakEwma:
    """The lower cost of two drawn: peak mean of response times x (own requests + 1).

    As in linkerd and tower. A slower response replaces the mean at once; faster ones lower it with
    a decay time of 10 s. Before the first response the mean is 30 ms.
    """

    _DECAY_S: Final = 10.0
    _INITIAL_S: Final = 0.03

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def choose(self, pool: Pool, _now: float, exclude: Collection[str], /) -> Endpoint | None:
        """Return the member with the lower cost, of two random ones."""
        eligible = _eligible_members(pool, exclude)
        if not eligible:
            return None
        first, second = self._rng.choice(eligible), self._rng.choice(eligible)
        return second if self._cost(second) < self._cost(first) else first

    def record_result(
        self, endpoint: Endpoint, seconds: float, now: float, _succeeded: bool, /
    ) -> None:
        """Update the peak mean with a response time; failures count as well."""
        peak = self._peak(endpoint)
        if seconds > peak.seconds:
            peak.seconds = seconds
        else:
            decay = exp(-(now - peak.updated_at) / self._DECAY_S)
            peak.seconds = peak.seconds * decay + seconds * (1 - decay)
        peak.updated_at = now

    def _cost(self, endpoint: Endpoint) -> float:
        return self._peak(endpoint).seconds * (endpoint.inflight + 1)

    def _peak(self, endpoint: Endpoint) -> _PeakLatency:
        peak = endpoint.policy_state
        if not isinstance(peak, _PeakLatency):
            peak = endpoint.policy_state = _PeakLatency(self._INITIAL_S, 0.0)
        return peak


class _WeightState:
    """The state of an endpoint's weight by gRFC A58.

    `utilization_sum` adds the reported utilization at each of `sample_count` responses since
    `updated_at`; `served` is the reported total at that time. `first_report_at` is when this state
    was created. Times are in seconds.
    """

    __slots__ = (
        "first_report_at",
        "sample_count",
        "served",
        "updated_at",
        "utilization_sum",
        "weight",
    )

    def __init__(self, served: int, now: float) -> None:
        self.served = served
        self.first_report_at = self.updated_at = now
        self.weight = self.utilization_sum = 0.0
        self.sample_count = 0


class OrcaWeightedRoundRobin:
    """Weighted round robin by gRFC A58: weight = requests per second / utilization.

    The penalty for errors of A58 is left out. Weights are updated each second. A weight is used
    10 s after its state was created, and expires 3 min after the last report; members without a
    weight get the mean. With fewer than two weights it is plain round robin. Members are scheduled
    by earliest deadline first, with random phases.

    `_queue` is a heap of (due, index, endpoint, period); the period is 1 / weight.
    """

    _UPDATE_S: Final = 1.0
    _BLACKOUT_S: Final = 10.0
    _EXPIRES_S: Final = 180.0

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._round_robin = RoundRobin(rng)
        self._updated_at = -inf
        self._queue: list[tuple[float, int, Endpoint, float]] = []
        self._pool: Pool | None = None

    def choose(self, pool: Pool, now: float, exclude: Collection[str], /) -> Endpoint | None:
        """Return the member with the earliest deadline."""
        if pool is not self._pool or now - self._updated_at >= self._UPDATE_S:
            self._update_weights(pool, now)
        if exclude or not self._queue:
            return self._round_robin.choose(pool, now, exclude)
        due, index, endpoint, period = heappop(self._queue)
        heappush(self._queue, (due + period, index, endpoint, period))
        return endpoint

    def record_result(
        self, endpoint: Endpoint, _seconds: float, now: float, _succeeded: bool, /
    ) -> None:
        """Add the reported utilization at the time of a response."""
        state = self._weight_state(endpoint, now)
        state.utilization_sum += min(1.0, endpoint.load.running / endpoint.instance.best)
        state.sample_count += 1

    def _update_weights(self, pool: Pool, now: float) -> None:
        self._pool, self._updated_at = pool, now
        weights = [self._update_weight(endpoint, now) for endpoint in pool.members]
        positive = [weight for weight in weights if weight > 0]
        self._queue = []
        if len(positive) < 2:
            return
        mean = sum(positive) / len(positive)
        for index, (endpoint, weight) in enumerate(zip(pool.members, weights, strict=True)):
            period = 1 / (weight or mean)
            heappush(self._queue, (self._rng.random() * period, index, endpoint, period))

    def _update_weight(self, endpoint: Endpoint, now: float) -> float:
        state = self._weight_state(endpoint, now)
        if now - endpoint.last_report_at > self._EXPIRES_S:
            return 0.0
        seconds = now - state.updated_at
        if seconds >= self._UPDATE_S / 2:
            rate = (endpoint.load.served - state.served) / seconds
            utilization = state.utilization_sum / state.sample_count if state.sample_count else 0.0
            state.weight = rate / utilization if utilization > 0 and rate > 0 else state.weight
            state.served, state.updated_at = endpoint.load.served, now
            state.utilization_sum, state.sample_count = 0.0, 0
        return state.weight if now - state.first_report_at >= self._BLACKOUT_S else 0.0

    def _weight_state(self, endpoint: Endpoint, now: float) -> _WeightState:
        state = endpoint.policy_state
        if not isinstance(state, _WeightState):
            state = endpoint.policy_state = _WeightState(endpoint.load.served, now)
        return state


class _IdleSlots:
    """The idle slots of an endpoint as the original counts them: a new report replaces the count.

    `seq` is that of the report.
    """

    __slots__ = ("idle", "seq")

    def __init__(self) -> None:
        self.idle = 0
        self.seq = -1


class MostIdle(StatelessPolicy):
    """The member with the most idle slots, the first of equals; a pick counts one slot less.

    The count is corrected by the next report. These are the original's strategies `load` and
    `loadMini`. They choose the same instance and differ only in their replies to a query for
    several. An instance without idle slots may be chosen.
    """

    def choose(self, pool: Pool, _now: float, exclude: Collection[str], /) -> Endpoint | None:
        """Return the member with the most idle slots."""
        best: Endpoint | None = None
        most_idle = -inf
        for endpoint in _eligible_members(pool, exclude):
            idle = float(self._refresh_idle(endpoint).idle)
            if idle > most_idle:
                best, most_idle = endpoint, idle
        if best is not None:
            self._refresh_idle(best).idle -= 1
        return best

    def _refresh_idle(self, endpoint: Endpoint) -> _IdleSlots:
        slots = endpoint.policy_state
        if not isinstance(slots, _IdleSlots):
            slots = endpoint.policy_state = _IdleSlots()
        if slots.seq != endpoint.load.seq:
            slots.seq = endpoint.load.seq
            slots.idle = endpoint.instance.best - endpoint.load.running - endpoint.load.queued
        return slots


Probe = Callable[[Endpoint, Callable[[int, float], None]], None]


class _ProbeResult:
    """The result of a probe: `rif` requests in flight, `latency` in seconds, and its uses left."""

    __slots__ = ("endpoint", "latency", "received_at", "rif", "uses_left")

    def __init__(
        self, endpoint: Endpoint, rif: int, latency: float, received_at: float, uses_left: int
    ) -> None:
        self.endpoint = endpoint
        self.rif = rif
        self.latency = latency
        self.received_at = received_at
        self.uses_left = uses_left


class Prequal(StatelessPolicy):
    """Prequal, probing to reduce queuing and latency: the asynchronous mode of the paper (NSDI'24).

    Each request sends `probes_per_request` probes to random instances. Their results, at most 16
    and at most 1 s old, are each used a bounded number of times. One is removed per request,
    alternately the oldest and the worst. A result is cold if its requests in flight are at most the
    0.84 quantile of recent ones. The cold result with the least latency is chosen; if all are hot,
    the one with the fewest requests in flight; with fewer than two results, a random member.
    `probe(endpoint, callback)` probes an instance; `callback` is called later with its requests in
    flight and its latency in seconds.
    """

    _MAX_POOL_SIZE: Final = 16
    _MAX_AGE_S: Final = 1.0
    _HOT_QUANTILE: Final = 0.84
    _REMOVED_PER_REQUEST: Final = 1.0
    _DELTA: Final = 1.0
    _MAX_RIF_SAMPLES: Final = 256

    def __init__(self, rng: Random, probe: Probe, *, probes_per_request: int = 3) -> None:
        self._rng = rng
        self._probe = probe
        self._probes_per_request = probes_per_request
        self._results: list[_ProbeResult] = []
        self._rif_samples: list[int] = []
        self._now = 0.0
        self._fleet_size = 1
        self._remove_oldest_next = True

    def choose(self, pool: Pool, now: float, exclude: Collection[str], /) -> Endpoint | None:
        """Return the best member by the results at hand, and send new probes."""
        members = _eligible_members(pool, exclude)
        if not members:
            return None
        self._now, self._fleet_size = now, len(pool.members)
        usable = [
            result for result in self._results
            if now - result.received_at <= self._MAX_AGE_S and result.endpoint.pool is pool
            and result.endpoint.instance.addr not in exclude
        ]  # fmt: skip
        self._results = usable
        chosen = self._select(usable) if len(usable) >= 2 else None
        for endpoint in self._rng.sample(
            pool.members, min(self._probes_per_request, len(pool.members))
        ):
            self._probe(endpoint, partial(self._add_result, endpoint))
        if chosen is None:
            return self._rng.choice(members)
        chosen.uses_left -= 1
        chosen.rif += 1
        if chosen.uses_left <= 0:
            self._results.remove(chosen)
        self._remove_one()
        return chosen.endpoint

    def _select(self, usable: list[_ProbeResult]) -> _ProbeResult:
        threshold = self._hot_threshold()
        cold = [result for result in usable if result.rif <= threshold]
        if cold:
            return min(cold, key=_latency_of)
        return min(usable, key=_inflight_of)

    def _hot_threshold(self) -> float:
        if not self._rif_samples:
            return inf
        ordered = sorted(self._rif_samples)
        return ordered[min(len(ordered) - 1, int(self._HOT_QUANTILE * len(ordered)))]

    def _add_result(self, endpoint: Endpoint, rif: int, latency: float) -> None:
        self._rif_samples.append(rif)
        if len(self._rif_samples) > self._MAX_RIF_SAMPLES:
            del self._rif_samples[0]
        if len(self._results) >= self._max_results():
            del self._results[0]
        self._results.append(_ProbeResult(endpoint, rif, latency, self._now, self._draw_max_uses()))

    def _max_results(self) -> int:
        """Return the most results to keep: 16, but at most half of the fleet and at least 2.

        In a small fleet, 16 results would cover every instance.
        """
        return max(2, min(self._MAX_POOL_SIZE, self._fleet_size // 2))

    def _draw_max_uses(self) -> int:
        """Return how many times a result may be used, rounded at random (paper, equation 1)."""
        net_probes = (
            1 - self._max_results() / self._fleet_size
        ) * self._probes_per_request - self._REMOVED_PER_REQUEST
        uses = (
            max(1.0, (1 + self._DELTA) / net_probes)
            if net_probes > 0
            else float(self._MAX_POOL_SIZE)
        )
        whole_uses = int(uses)
        return whole_uses + (self._rng.random() < uses - whole_uses)

    def _remove_one(self) -> None:
        """Remove one result: the oldest and the worst alternately."""
        if not self._results:
            return
        if self._remove_oldest_next:
            del self._results[0]
        else:
            threshold = self._hot_threshold()
            hottest = [result for result in self._results if result.rif > threshold]
            worst = (
                max(hottest, key=_inflight_of) if hottest else max(self._results, key=_latency_of)
            )
            self._results.remove(worst)
        self._remove_oldest_next = not self._remove_oldest_next


def _latency_of(result: _ProbeResult) -> float:
    return result.latency


def _inflight_of(result: _ProbeResult) -> int:
    return result.rif


def policy_factories(rng: Random, probe: Probe) -> dict[str, Callable[[], Policy]]:
    """Return a factory for each policy by its name in `lb.policy`; the first is the default."""
    return {
        "ours": lambda: LeastExpectedDelay(rng),
        "least_request": lambda: LeastRequest(rng),
        "p2c": lambda: PowerOfTwoChoices(rng),
        "peak_ewma": lambda: PeakEwma(rng),
        "orca_wrr": lambda: OrcaWeightedRoundRobin(rng),
        "prequal": lambda: Prequal(rng, probe),
        "load": MostIdle,
        "loadMini": MostIdle,
        "poll": lambda: RoundRobin(rng),
        "round_robin": lambda: RoundRobin(rng),
        "random": lambda: RandomChoice(rng),
    }
