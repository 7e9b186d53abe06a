"""One instance as a gateway sees it: its reported figures and this gateway's requests there. Pure.

The load of an instance is the number of requests of other clients there, by its last report, plus
this gateway's own requests, which the gateway knows exactly: `remote_load + inflight`. A report
states how many of its requests are this gateway's (`requests_by_gateway`). So no request is counted
twice, no request that ended is still counted, and no counter can drift. A correction of the report
by `sent - accepted` would miss the requests that ended since (`docs/load-balancing.md`).
"""

from math import exp, log, sqrt
from typing import Any, Final, Protocol
from zlib import crc32

from lb.endpoints.lifecycle import EndpointEvent, EndpointState
from lb.endpoints.outlier import OutlierDetector
from lb.endpoints.report import Instance, Load, ReportMode

# A reported service time is trusted if it rests on at least _MIN_SERVED requests, the last of them
# at most _MAX_SAMPLE_AGE_S seconds ago. A cold start or a slow moment must not mark a loader as
# slow forever: it would get no requests that could correct the figure.
_MIN_SERVED: Final = 20
_MAX_SAMPLE_AGE_S: Final = 5.0
# A service time this close to the fleet's median counts as the median: the difference is noise. Up
# to 0.1 ms it is noise of the machine.
_SIMILAR_SHARE: Final = 0.15
_SIMILAR_MS: Final = 0.1
# An instance is silent after this many times its longest recent gap between reports. Of a new one
# nothing is known: its gaps count as twice the usual keep-alive of 0.05 s.
_GAPS_OF_SILENCE: Final = 3.0
_FIRST_GAP_PEAK_S: Final = 0.1
_PEAK_FADES_S: Final = 300.0
# An instance without requests reports this much less often (`lb.reporter.schedule`).
_IDLE_GAP_S: Final = 0.15
MAX_SILENCE_S: Final = 1.0
_MAX_GAP_PEAK_S: Final = MAX_SILENCE_S / _GAPS_OF_SILENCE  # a longer one would only fade later
# Level increase per request at an instance with the fleet's median speed and slots.
_BASE_WEIGHT: Final = 8
_MAX_WEIGHT: Final = 64
_MAX_LEVEL: Final = 4095
# Share of its slots that a new instance starts with.
_RAMP_START_SHARE: Final = 0.1
# About the time from a response to the arrival of the next request at a loader.
_SOON_MS: Final = 1.0
# While applications contend, one slot of this many is for this gateway, if others use the instance.
_OWN_PART: Final = 2
# Least time in seconds without requests after a rejection, if the instance does not report every
# change.
_MIN_FULL_S: Final = 0.01
# Weight of the last duration in the mean of an instance that does not report.
_SMOOTHING: Final = 1 / 16
# Actual latencies are compared with expected ones, as a mean of logarithms over about
# _LATENCY_WINDOW responses. The reports of an instance are distrusted if its responses took twice
# as long as at the other instances, compared with the expected time, and the difference is not
# chance: 2.6 / sqrt(n) is two standard deviations of the mean of n, for exponential times.
# _NETWORK_MS is allowed for the round trip. One response counts for a deviation of at most
# _MAX_LOG_DEVIATION upwards, because one late response proves nothing. Distrust, like trust, needs
# recent responses (_MAX_SAMPLE_AGE_S).
_LATENCY_WINDOW: Final = 32
_MAX_LOG_DEVIATION: Final = 2.0
_NETWORK_MS: Final = 1.0
_MIN_LOG_RATIO: Final = log(2)
_NOISE_MARGIN: Final = 2.6


# 31 bits: the product of two such numbers is a machine word in compiled Python.
HASH_MASK: Final = 0x7FFFFFFF


def stable_hash(text: str) -> int:
    """Return a 31-bit hash of an address or a key that is the same in every process."""
    return crc32(text.encode("utf-8", "surrogatepass")) & HASH_MASK


class FleetMedians:
    """Medians over the instances of a service.

    `service_ms` is the reported service time in milliseconds, 1 while none is reported
    (`has_service_time`), and `slots` the number of slots of an instance. `latency_log_ratio` is the
    natural logarithm of actual / expected latency.
    """

    __slots__ = ("has_service_time", "latency_log_ratio", "service_ms", "slots")

    def __init__(self) -> None:
        self.service_ms = 1.0
        self.has_service_time = False
        self.slots = 1
        self.latency_log_ratio = 0.0


class LoadLevels(Protocol):
    """The pool of an endpoint, as far as the endpoint uses it."""

    def move(self, endpoint: "Endpoint", level: int) -> None:
        """Move a member to `level`."""


class Endpoint:
    """One instance with its reported figures and this gateway's counts.

    Counts of requests: `remote_load` are the requests of other clients there, running or queued, by
    the last report. `inflight` are this gateway's requests without a response yet. `abandoned` are
    this gateway's requests that it does not wait for any more and that may still run there; the
    next report corrects it. `picks` are all leases so far. `advertised_count` is how many times the
    original's LB interface returned the address as the best since the last report.

    `state` is the lifecycle state and `reason` the event of its last change. `report_mode` is how
    reports arrive at present: NONE while no hub reports the instance. `instance.report_mode` is the
    configured mode.

    `report_gap_peak` is the longest time between two reports in seconds, less what an instance
    without requests may take longer; it fades within minutes.

    Times in seconds of `now`: `last_report_at`; `state_since`, the last change of `state`;
    `first_seen_at`; `last_served_at`, the last report with another number of served requests;
    `full_until`, until when a rejection counts as full.

    Estimates that the pick reads, set by `update_estimates`: `service_ms` is how long a request
    occupies a slot in milliseconds; `is_estimated`: an instance of the service has reported one,
    else all count as 1 ms, which only compares them. A batch of n requests takes `batch_base_ms` +
    n x `batch_item_ms`; both are 0 without batches. `usable_slots` is the number of slots to count
    on: fewer than the instance has while `is_ramping`. `limit` is the most requests it accepts.
    `load_weight` is how much one own request adds to the level, and `load_level` is `inflight` x
    `load_weight`, at most 4095. `level_index` is the position in that level of `pool`; `pool` is
    None if the endpoint is not a member of one.

    `latency_log_ratio` is the mean logarithm of actual / expected latency over `latency_samples`
    responses, the last at `latency_sampled_at`. `slowdown_factor` is 1 if the reports are trusted;
    otherwise `service_ms` is this many times what it would be by the reports. `policy_state`
    belongs to the policy. `addr_hash` is for rendezvous hashing (`lb/balancer/affinity.py`).
    """

    __slots__ = (
        "abandoned", "addr_hash", "advertised_count", "batch_base_ms", "batch_item_ms",
        "first_seen_at", "full_until", "inflight", "instance", "is_estimated", "is_ramping",
        "last_report_at", "last_served_at", "latency_log_ratio", "latency_sampled_at",
        "latency_samples", "level_index", "limit", "load", "load_level", "load_weight",
        "outlier_detector", "picks", "policy_state", "pool", "reason",
        "remote_load", "report_gap_peak", "report_mode", "service_ms", "slowdown_factor", "state",
        "state_since", "usable_slots",
    )  # fmt: skip

    def __init__(self, instance: Instance, load: Load, state: EndpointState, now: float) -> None:
        self.instance = instance
        self.load = load
        self.addr_hash = stable_hash(instance.addr)
        self.state = state
        self.reason = EndpointEvent.REPORTED_UP
        self.last_report_at = self.state_since = self.first_seen_at = now
        self.last_served_at = self.full_until = self.latency_sampled_at = 0.0
        self.report_gap_peak = _FIRST_GAP_PEAK_S
        self.report_mode = instance.report_mode
        self.is_ramping = instance.report_mode is not ReportMode.NONE and load.served == 0
        self.remote_load = self.inflight = self.abandoned = self.picks = self.advertised_count = 0
        self.latency_samples = 0
        self.latency_log_ratio = 0.0
        self.slowdown_factor = 1.0
        self.outlier_detector = OutlierDetector()
        self.service_ms = load.service_ms
        self.is_estimated = load.service_ms > 0
        self.batch_base_ms = self.batch_item_ms = 0.0
        self.usable_slots = instance.best
        self.limit = instance.total
        self.load_weight = _BASE_WEIGHT
        self.load_level = 0
        self.pool: LoadLevels | None = None
        self.policy_state: Any = None
        self.level_index = 0  # position in `pool.levels[load_level]`

    def outstanding(self) -> int:
        """Return the estimated number of requests at this instance, running and queued."""
        return self.remote_load + self.inflight + self.abandoned

    def has_capacity(self, now: float) -> bool:
        """Return whether a request may be sent here.

        The reported load counts only if every change is reported: by an old report the instance
        would stay full forever.
        """
        if self.report_mode is ReportMode.ON_CHANGE:
            return self.remote_load + self.inflight + self.abandoned < self.limit
        return self.inflight + self.abandoned < self.limit and now >= self.full_until

    def has_free_slot(self, now: float) -> bool:
        """Return whether a request sent here now would begin at once, or in `_SOON_MS` at most.

        Unlike `has_capacity` it does not count the places of the loader's queue, except for those
        that keep slots busy while requests are under way. It is as `has_capacity` for an instance
        whose queue is not known, or serves to fill batches; and for this gateway's part of the
        slots if other gateways use the instance too, since those may fill its queue.
        """
        if not self.has_capacity(now):
            return False
        instance = self.instance
        if self.report_mode is not ReportMode.ON_CHANGE or instance.max_batch > 1:
            return True
        slots = self.usable_slots
        if self.remote_load and _OWN_PART * self.inflight < slots:
            return True
        queued = self.remote_load + self.inflight + self.abandoned - slots
        return queued < 0 or (queued + 1) * self.service_ms <= _SOON_MS * slots

    def mark_full(self, now: float) -> None:
        """Treat the instance as full until its next report.

        If it does not report every change, treat it as full for one service time, at least 10 ms.
        """
        if self.report_mode is ReportMode.ON_CHANGE:
            self.remote_load = max(self.remote_load, self.limit - self.inflight)
        else:
            self.full_until = now + max(_MIN_FULL_S, self.service_ms / 1000)

    def expected_ms(self) -> float:
        """Return the delay that a request would have here, in milliseconds.

        It is the service time x (1 + rounds to wait); see `docs/load-balancing.md`. A term of a
        thousandth prefers the less occupied of two instances without a queue.
        """
        if self.batch_item_ms or self.batch_base_ms:
            return self._expected_batch_ms()
        slots = self.usable_slots
        outstanding = self.remote_load + self.inflight + self.abandoned
        ahead = outstanding - slots + 1
        if ahead < 0:
            ahead = 0
        return self.service_ms * (1.0 + (ahead + outstanding / 1000) / slots)

    def _expected_batch_ms(self) -> float:
        """Return what `expected_ms` returns, for an instance that works in batches.

        A request waits until a batch ends that is half done, on average; then its own begins. Half
        of the requests at a worker are in the batch that runs, the others in the next one. Those
        that do not fit into two full batches add the time of a full batch divided by its size.
        """
        max_batch = self.instance.max_batch
        workers = max(1.0, self.usable_slots / max_batch)
        outstanding = (self.remote_load + self.inflight + self.abandoned) / workers
        base_ms, item_ms = self.batch_base_ms, self.batch_item_ms
        expected_ms = base_ms + item_ms * min(outstanding / 2 + 1, max_batch)
        if outstanding >= 1:
            expected_ms += (base_ms + item_ms * min(max(outstanding / 2, 1.0), max_batch)) / 2
        excess = outstanding - 2 * max_batch
        if excess > 0:
            expected_ms += excess * (base_ms / max_batch + item_ms)
        return expected_ms + item_ms * outstanding / 1000

    def is_presumed_alive(self) -> bool:
        """Return whether a suspect endpoint may still be picked, because nothing shows it is gone.

        That is: it is silent, or a hub does not list it; its report stream did not break.
        """
        return self.reason is EndpointEvent.SILENT or self.reason is EndpointEvent.HUB_FORGOT

    def is_untried(self) -> bool:
        """Return whether the instance has had no request from any gateway, as far as is known.

        An instance that does not report counts as tried.
        """
        is_idle = not self.picks and not self.load.served and not self.outstanding()
        return is_idle and self.instance.report_mode is not ReportMode.NONE

    def apply_report(self, instance: Instance, load: Load, own_requests: int, now: float) -> None:
        """Apply a newer report.

        `own_requests` of its requests are this gateway's. -1 means that the loader does not report
        it; then all requests in flight are assumed to be among them. At most `own_requests` -
        `inflight` of the abandoned requests can still run.
        """
        if load.served != self.load.served:
            self.last_served_at = now
        idle_gap = _IDLE_GAP_S if self._has_reported_idle() else 0.0
        gap = min(now - self.last_report_at - idle_gap, _MAX_GAP_PEAK_S)
        faded_peak = self.report_gap_peak * self._fade(now)
        self.report_gap_peak = max(faded_peak, gap)
        if instance != self.instance:  # otherwise keep the object: subscribers compare identity
            self.instance = instance
        self.load, self.last_report_at, self.report_mode = load, now, instance.report_mode
        self.advertised_count = 0
        self.remote_load = max(
            0, load.running + load.queued - (self.inflight if own_requests < 0 else own_requests)
        )
        if self.abandoned:
            self.abandoned = min(self.abandoned, max(0, own_requests - self.inflight))

    def _fade(self, now: float) -> float:
        """Return what remains of `report_gap_peak` since the last report, as a share."""
        share = 1.0 - (now - self.last_report_at) / _PEAK_FADES_S
        return max(0.0, share)

    def _has_reported_idle(self) -> bool:
        return not (self.load.running or self.load.queued)

    def silence_limit(self, least: float) -> float:
        """Return how long the instance may be silent before it is suspect, in seconds.

        Between `least` and `MAX_SILENCE_S`, or `least` if that is more: three times the longest
        recent time between two reports; longer for an instance that has reported no requests.
        Failure detectors that adapt to what they observe make few false ones on a busy machine, and
        are fast on a quiet one (Hayashibara et al., The phi accrual failure detector, 2004).
        """
        observed = self.report_gap_peak * _GAPS_OF_SILENCE
        limit = max(least, observed)
        if self._has_reported_idle():
            limit = max(limit, min(limit + _GAPS_OF_SILENCE * _IDLE_GAP_S, MAX_SILENCE_S))
        return limit

    def discard_reported_load(self) -> None:
        """Use own counts alone until the next report."""
        self.report_mode = ReportMode.NONE
        self.remote_load = self.abandoned = 0

    def record_latency(self, latency_ms: float, expected_ms: float, now: float) -> None:
        """Update `latency_log_ratio` with a response: its latency, and that expected at its pick.

        `expected_ms` is divided by `slowdown_factor`, so that it is what the reports suggest.
        """
        log_ratio = log(
            (latency_ms + _NETWORK_MS) / (expected_ms / self.slowdown_factor + _NETWORK_MS)
        )
        self.latency_samples += 1
        self.latency_sampled_at = now
        self.latency_log_ratio += min(log_ratio - self.latency_log_ratio, _MAX_LOG_DEVIATION) / min(
            self.latency_samples, _LATENCY_WINDOW
        )

    def update_estimates(self, medians: FleetMedians, ramp: float, now: float) -> None:
        """Update the estimates that the pick reads.

        The fleet's median service time replaces the instance's own if that rests on few requests,
        if none was served recently, or if both are similar. If responses take longer than the
        reports suggest, and those of other instances do not, the reports are distrusted: the
        instance counts as slower by that ratio. A new instance counts with a share of its slots
        that grows during `ramp` seconds.
        """
        instance, load, fleet_ms = self.instance, self.load, medians.service_ms
        excess = self.latency_log_ratio - medians.latency_log_ratio
        noise = _NOISE_MARGIN / sqrt(min(self.latency_samples, _LATENCY_WINDOW) or 1)
        is_fresh = now - self.latency_sampled_at <= _MAX_SAMPLE_AGE_S
        is_distrusted = self.latency_samples and is_fresh and excess > _MIN_LOG_RATIO + noise
        reported_ms = load.service_ms
        is_believed = (
            reported_ms > 0
            and load.served >= _MIN_SERVED
            and now - self.last_served_at <= _MAX_SAMPLE_AGE_S
        )
        is_similar = abs(reported_ms - fleet_ms) <= fleet_ms * _SIMILAR_SHARE + _SIMILAR_MS
        service_ms = reported_ms if is_believed and not is_similar else fleet_ms
        self.slowdown_factor = (
            ((service_ms + _NETWORK_MS) * exp(excess) - _NETWORK_MS) / service_ms
            if is_distrusted
            else 1.0
        )
        self.service_ms = service_ms = service_ms * self.slowdown_factor
        if self.is_estimated is not medians.has_service_time:
            # Until now the expected latencies were in another unit.
            self.is_estimated = medians.has_service_time
            self.latency_samples, self.latency_log_ratio = 0, 0.0
        # Like a service time, a line that rests on little, or is old, is not believed: the instance
        # might get no requests that could correct it.
        batch_factor = self.slowdown_factor if is_believed else 0.0
        self.batch_base_ms = load.batch_base_ms * batch_factor
        self.batch_item_ms = load.batch_item_ms * batch_factor
        self.limit = instance.total
        self.usable_slots = instance.best
        if self.is_ramping:
            age = now - self.first_seen_at
            if age >= ramp:
                self.is_ramping = False
            else:
                share = _RAMP_START_SHARE + (1 - _RAMP_START_SHARE) * age / ramp
                self.usable_slots = max(1, int(instance.best * share))
        weight = _BASE_WEIGHT * service_ms * medians.slots / (fleet_ms * self.usable_slots)
        self.load_weight = max(1, round(weight)) if weight < _MAX_WEIGHT else _MAX_WEIGHT
        self.update_load_level()

    def update_load_level(self) -> None:
        """Recompute `load_level` after a change of `inflight` or `load_weight`.

        A member of a pool moves to the new level there.
        """
        level = min(self.inflight * self.load_weight, _MAX_LEVEL)
        if level != self.load_level:
            pool = self.pool
            if pool is None:
                self.load_level = level
            else:
                pool.move(self, level)

    def learn_service_time(self, seconds: float, now: float) -> None:
        """Update the service time of an instance that does not report, from one response.

        Replaces `load`. The response took `seconds`.
        """
        self.last_served_at = now
        latency_ms = seconds * 1000
        previous_ms = self.load.service_ms or latency_ms
        smoothed_ms = previous_ms + (latency_ms - previous_ms) * _SMOOTHING
        self.load = Load(service_ms=smoothed_ms, served=self.load.served + 1)
