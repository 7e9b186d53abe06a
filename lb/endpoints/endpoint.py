"""One instance as a gateway sees it: what it reported, what this gateway has there. Pure.

The queue of an instance is what others have there, by its last report, and what this gateway has
there, which it knows exactly: `foreign + inflight`. A report tells how many of its requests are
this gateway's (`held`), so that nothing is counted twice, nothing that ended is waited for, and no
counter can drift (reference "load-balancing" 6.5.1 corrects by `sent - acc`, which cannot see what
has ended since).
"""

from math import exp, log, sqrt
from typing import Any, Final, Protocol
from zlib import crc32

from lb.endpoints.lifecycle import EndpointEvent, EndpointState
from lb.endpoints.outlier import OutlierDetector
from lb.endpoints.report import Instance, Load, ReportMode

# A slot time is believed when this many requests told it, the last one so many seconds ago. A cold
# start, or a bad moment, must not mark a loader as slow for ever: nothing would be sent there to
# prove it wrong.
_MIN_SERVED: Final = 20
_MAX_SAMPLE_AGE_S: Final = 5.0
# Slot times this close to the fleet's are the fleet's: what is left is noise, and of a tenth of a
# millisecond it is the machine's.
_SIMILAR_SHARE: Final = 0.15
_SIMILAR_MS: Final = 0.1
# One request at an instance of the fleet's pace raises its level by so much.
_BASE_WEIGHT: Final = 8
_MAX_WEIGHT: Final = 64
_MAX_LEVEL: Final = 4095
# With this part of its licences a newcomer begins.
_RAMP_START_SHARE: Final = 0.1
# One that refused a request is left alone for so long at least, where no report tells of room.
_MIN_FULL_S: Final = 0.01
# Of the durations of an instance that does not report, the last counts for so much.
_SMOOTHING: Final = 1 / 16
# What was expected is compared with what came, as a mean of logarithms over about so many answers.
# Where they took twice as long as elsewhere, and more than chance would have it (two deviations of
# that mean, for exponential times), what the instance reports is not so.
# A millisecond is allowed to all for the way there and back. One answer, however late, moves the
# mean by so much at most: a hiccup tells nothing. And doubt, like belief, wants fresh answers.
_LATENCY_WINDOW: Final = 32
_MAX_LOG_DEVIATION: Final = 2.0
_NETWORK_MS: Final = 1.0
_MIN_LOG_RATIO: Final = log(2)
_NOISE_MARGIN: Final = 2.6


# Numbers of 31 bits: products of two are machine words where this is compiled.
HASH_MASK: Final = 0x7FFFFFFF


def stable_hash(text: str) -> int:
    """Return a number that stands for an address, or a key, in every process alike."""
    return crc32(text.encode("utf-8", "surrogatepass")) & HASH_MASK


class FleetMedians:
    """What is usual among the instances of a service: medians.

    `slot_ms`, `slots` (licences), and `excess`: how much longer answers take than was expected, as
    a logarithm.
    """

    __slots__ = ("latency_log_ratio", "service_ms", "slots")

    def __init__(self) -> None:
        self.service_ms = 1.0
        self.slots = 1
        self.latency_log_ratio = 0.0


class LoadLevels(Protocol):
    """The pool that an instance is a member of, where it stands by its own load."""

    def move(self, endpoint: "Endpoint", level: int) -> None:
        """Put a member on another level."""


class Endpoint:
    """One instance, its figures and its counts.

    `foreign`: requests of others there, running or queued, by the last report. `inflight`: this
    gateway's unanswered ones. `ghosts`: those it gave up, which may still run there. `asked`:
    tickets ever. `feed` is how reports come at present: NONE while the hub is away. In `now`'s
    seconds: `seen` is when it last reported, `since` when its state last changed, `born` when it
    was first heard of, `worked` when it last was told to have served, `full_until` until when a
    refusal counts. What the pick reads: `slot_ms` (how long a licence is held there), `slots`
    (licences that are counted on), `limit` (requests it takes at most), `step` and `level` (of own
    load). `doubt`: its slot time is so many times what it reports (`compare`). `note` is the
    policy's. `mark` stands for its address in a key's order (`lb/balancer/affinity.py`).
    `promised`: times
    it was told to who asks for addresses, since it last reported.
    """

    __slots__ = (
        "abandoned", "addr_hash", "first_seen_at", "full_until", "handed_out", "inflight",
        "instance", "is_ramping", "last_report_at", "last_served_at", "latency_log_ratio",
        "latency_sampled_at", "latency_samples", "level_index", "limit", "load", "load_level",
        "load_weight", "outlier_detector", "picks", "policy_state", "pool", "reason",
        "remote_load", "report_mode", "service_ms", "slowdown_factor", "state", "state_since",
        "usable_slots",
    )  # fmt: skip

    def __init__(self, instance: Instance, load: Load, state: EndpointState, now: float) -> None:
        self.instance = instance
        self.load = load
        self.addr_hash = stable_hash(instance.addr)
        self.state = state
        self.reason = EndpointEvent.REPORTED_UP
        self.last_report_at = self.state_since = self.first_seen_at = now
        self.last_served_at = self.full_until = self.latency_sampled_at = 0.0
        self.report_mode = instance.report_mode
        self.is_ramping = instance.report_mode is not ReportMode.NONE and load.served == 0
        self.remote_load = self.inflight = self.abandoned = self.picks = self.handed_out = 0
        self.latency_samples = 0
        self.latency_log_ratio = 0.0
        self.slowdown_factor = 1.0
        self.outlier_detector = OutlierDetector()
        self.service_ms = load.service_ms
        self.usable_slots = instance.best
        self.limit = instance.total
        self.load_weight = _BASE_WEIGHT
        self.load_level = 0
        self.pool: LoadLevels | None = None
        self.policy_state: Any = None
        self.level_index = 0  # in its level

    def outstanding(self) -> int:
        """Return the requests this instance holds, queued ones too, as far as can be known."""
        return self.remote_load + self.inflight + self.abandoned

    def has_capacity(self, now: float) -> bool:
        """Return whether a request may be sent here.

        What was reported counts as long as changes are: by an old report an instance would be full
        for ever.
        """
        if self.report_mode is ReportMode.ON_CHANGE:
            return self.remote_load + self.inflight + self.abandoned < self.limit
        return self.inflight + self.abandoned < self.limit and now >= self.full_until

    def mark_full(self, now: float) -> None:
        """Take in that it holds all it takes: until it reports, or for the time of a slot."""
        if self.report_mode is ReportMode.ON_CHANGE:
            self.remote_load = max(self.remote_load, self.limit - self.inflight)
        else:
            self.full_until = now + max(_MIN_FULL_S, self.service_ms / 1000)

    def expected_ms(self) -> float:
        """Return the delay a request would meet here, in milliseconds.

        Slot time times (1 + rounds to wait): reference "load-balancing" 6.5.2. Of instances
        without a queue, the less occupied one is better by a thousandth.
        """
        slots = self.usable_slots
        outstanding = self.remote_load + self.inflight + self.abandoned
        ahead = outstanding - slots + 1
        if ahead < 0:
            ahead = 0
        return self.service_ms * (1.0 + (ahead + outstanding / 1000) / slots)

    def is_presumed_alive(self) -> bool:
        """Return whether a suspect may still be picked: nothing says that it is gone."""
        return self.reason is EndpointEvent.SILENT or self.reason is EndpointEvent.HUB_FORGOT

    def is_untried(self) -> bool:
        """Return whether nobody has asked this instance anything yet, as far as can be known."""
        is_idle = not self.picks and not self.load.served and not self.outstanding()
        return is_idle and self.instance.report_mode is not ReportMode.NONE

    def apply_report(self, instance: Instance, load: Load, own_requests: int, now: float) -> None:
        """Take in a newer report.

        `held` of its requests are this gateway's; -1 when it does not tell: then all that this
        gateway has there are thought to be among them. Of those given up, no more can still run
        than it has beyond the unanswered ones.
        """
        if load.served != self.load.served:
            self.last_served_at = now
        if instance != self.instance:  # else the same object, by which who follows knows it
            self.instance = instance
        self.load, self.last_report_at, self.report_mode = load, now, instance.report_mode
        self.handed_out = 0
        self.remote_load = max(
            0, load.running + load.queued - (self.inflight if own_requests < 0 else own_requests)
        )
        if self.abandoned:
            self.abandoned = min(self.abandoned, max(0, own_requests - self.inflight))

    def discard_reported_load(self) -> None:
        """Stand on own counts alone until it is heard of again."""
        self.report_mode = ReportMode.NONE
        self.remote_load = self.abandoned = 0

    def record_latency(self, latency_ms: float, expected_ms: float, now: float) -> None:
        """Compare how long an answer took with what was expected when it was asked for."""
        log_ratio = log(
            (latency_ms + _NETWORK_MS) / (expected_ms / self.slowdown_factor + _NETWORK_MS)
        )
        self.latency_samples += 1
        self.latency_sampled_at = now
        self.latency_log_ratio += min(log_ratio - self.latency_log_ratio, _MAX_LOG_DEVIATION) / min(
            self.latency_samples, _LATENCY_WINDOW
        )

    def update_estimates(self, medians: FleetMedians, ramp: float, now: float) -> None:
        """Bring what the pick reads up to date.

        The usual slot time stands for an instance's own where that is told by few requests, or by
        none of late, or is much the same. Where answers take longer than reports make expect, and
        not elsewhere, the reports are doubted: it counts as slower by as much. A newcomer is
        counted on for a part of its licences, that grows for `ramp` seconds.
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
        """Let the pool know that the own load may have changed."""
        level = min(self.inflight * self.load_weight, _MAX_LEVEL)
        if level != self.load_level:
            pool = self.pool
            if pool is None:
                self.load_level = level
            else:
                pool.move(self, level)

    def learn_service_time(self, seconds: float, now: float) -> None:
        """Learn from an answer how long an instance takes that does not tell it itself."""
        self.last_served_at = now
        latency_ms = seconds * 1000
        previous_ms = self.load.service_ms or latency_ms
        smoothed_ms = previous_ms + (latency_ms - previous_ms) * _SMOOTHING
        self.load = Load(service_ms=smoothed_ms, served=self.load.served + 1)
