"""What a recording says about the loaders: how fast each is, and the work of each request. Pure.

Only the time of a call is recorded, and it contains the wait in the loader's queue. A loader serves
in the order of arrival, so the recorded ends tell when a slot was free for each request (Lindley,
The theory of queues with a single server, 1952; for several servers, Kiefer and Wolfowitz, 1955).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappush, heapreplace
from math import exp, log
from random import Random
from statistics import fmean, median

from gateway.simulation.actors import LoaderModel
from gateway.simulation.recording import RecordedInstance, RecordedRequest, Recording
from lb.endpoints.lifecycle import EndpointState
from lb.endpoints.report import ReportMode

_LEAST_S = 1e-6
_BISECTIONS = 12
# An instance is called faster or slower than the others if at least so many requests say so.
_MIN_REQUESTS = 30
# Of the served requests that a loader reports, this share may be missing in a recording.
_MAX_FOREIGN_SHARE = 0.05
# The recorder writes the figures of an instance each second.
_PERIODIC_S = 1.0

LoaderKey = tuple[str, str]  # service, address


@dataclass(frozen=True, slots=True)
class RecordedLoader:
    """A loader of a recording, and when it was there: times in seconds since 1970.

    `leaves_at` is None if it stayed. `foreign_share` is the share of its requests that came by
    gateways which are not in the recording. `was_away`: it left and came back, which the replay
    leaves out.
    """

    model: LoaderModel
    joins_at: float
    leaves_at: float | None
    foreign_share: float
    was_away: bool = False


@dataclass(frozen=True, slots=True)
class Fleet:
    """The loaders of a recording, and the work of each of its requests in seconds at speed 1.

    The work of a request that no loader got is that of another one of its service, drawn at random;
    it is None if no request of the service ran.
    """

    loaders: list[RecordedLoader]
    works: list[float | None]

    def notes(self) -> list[str]:
        """Return what makes the replay doubtful."""
        foreign = [loader for loader in self.loaders if loader.foreign_share > _MAX_FOREIGN_SHARE]
        notes = [
            f"{loader.model.addr} also served requests of others, {loader.foreign_share:.0%}: "
            "record every gateway at the same time"
            for loader in foreign
        ]
        notes += [
            f"{loader.model.addr} was away in between, or restarted: the replay has it all the time"
            for loader in self.loaders
            if loader.was_away
        ]
        unknown = sum(work is None for work in self.works)
        if unknown:
            notes.append(f"{unknown} requests are left out: no request of their service ran")
        return notes


class UnreplayableError(Exception):
    """A recording whose loaders cannot be simulated; `str()` says why."""


def estimate_fleet(recording: Recording, rng: Random) -> Fleet:
    """Return what a recording says about its loaders. Raises UnreplayableError."""
    samples: dict[LoaderKey, list[RecordedInstance]] = defaultdict(list)
    for sample in recording.instances:
        samples[sample.service, sample.instance].append(sample)
    calls: dict[LoaderKey, list[int]] = defaultdict(list)
    for index, request in enumerate(recording.requests):
        if request.has_run() and (request.service, request.instance) in samples:
            calls[request.service, request.instance].append(index)
    durations: dict[int, float] = {}
    loaders = {}
    for key, loader_samples in samples.items():
        own_requests = [recording.requests[index] for index in calls[key]]
        slot_s, overhead_s = _slot_times(own_requests, loader_samples)
        durations.update(zip(calls[key], slot_s, strict=True))
        loaders[key] = _loader(loader_samples, own_requests, overhead_s)
    unary_s = {
        key: [durations[i] for i in calls[key] if not recording.requests[i].is_session]
        for key in samples
    }
    speeds = _speeds(unary_s, samples)
    works: list[float | None] = [None] * len(recording.requests)
    for key, indices in calls.items():
        for index in indices:
            # A session lasts as long as its client wants.
            speed = 1.0 if recording.requests[index].is_session else speeds[key]
            works[index] = durations[index] * speed
    _draw_missing(works, recording.requests, rng)
    with_speeds = [
        replace(loader, model=replace(loader.model, speed=speeds[key]))
        for key, loader in loaders.items()
    ]
    return Fleet(with_speeds, works)


def _slot_times(
    requests: Sequence[RecordedRequest], samples: Sequence[RecordedInstance]
) -> tuple[list[float], float]:
    """Return how long each request of a loader had a slot, and its overhead, in seconds.

    The overhead is what calls take beyond the slot and the queue. It is such that the mean of the
    slot times is the service time that the loader reports.
    """
    slots = samples[-1].best
    reported = [sample.service_ms / 1000 for sample in samples if sample.service_ms > 0]
    calls = [request.call_s for request in requests if not request.is_session]

    def slot_times(overhead_s: float) -> list[float]:
        spans = [
            (r.called_at, r.called_at + max(_LEAST_S, r.call_s - overhead_s)) for r in requests
        ]
        return slot_durations(spans, slots)

    low, high = 0.0, min(calls, default=0.0) if reported else 0.0
    for _ in range(_BISECTIONS if high else 0):
        middle = (low + high) / 2
        unary = zip(slot_times(middle), requests, strict=True)
        if geometric_mean(s for s, r in unary if not r.is_session) > median(reported):
            low = middle
        else:
            high = middle
    return slot_times(low), low


def slot_durations(spans: Sequence[tuple[float, float]], slots: int) -> list[float]:
    """Return how long each of the requests (start, end) had one of the slots, first come first.

    A request begins when fewer than `slots` of those before it have not ended.
    """
    order = sorted(range(len(spans)), key=lambda index: spans[index])
    durations = [0.0] * len(spans)
    latest_ends: list[float] = []  # a heap of the `slots` latest ends
    for index in order:
        start, end = spans[index]
        begins_at = start
        if len(latest_ends) == slots:
            begins_at = max(start, latest_ends[0])
            heapreplace(latest_ends, max(end, latest_ends[0]))
        else:
            heappush(latest_ends, end)
        durations[index] = max(_LEAST_S, end - begins_at)
    return durations


def geometric_mean(values: Iterable[float]) -> float:
    """Return the geometric mean of positive numbers, which is what loaders report."""
    return exp(fmean(map(log, values)))


def _loader(
    samples: Sequence[RecordedInstance], requests: Sequence[RecordedRequest], overhead_s: float
) -> RecordedLoader:
    """Return the loader of the samples of one instance. Raises UnreplayableError."""
    first, last = samples[0], samples[-1]
    if last.max_batch > 1:
        raise UnreplayableError(
            f"{last.instance} of {last.service} runs requests in batches of up to "
            f"{last.max_batch}: a replay knows loaders that run each request alone"
        )
    mode = ReportMode[last.report_mode]
    model = LoaderModel(
        last.instance,
        last.service,
        last.best,
        max(last.total, last.best),
        overhead_s=overhead_s,
        report_mode=mode,
        report_period_s=_PERIODIC_S if mode is ReportMode.PERIODIC else 0.0,
        served=first.served,
        service_ms=first.service_ms,
    )
    was_away = len({sample.epoch for sample in samples}) > 1 or _was_away(samples)
    served = 0 if was_away else last.served - first.served
    ended = sum(first.at <= r.called_at + r.call_s <= last.at for r in requests)
    foreign_share = max(0.0, 1 - ended / served) if served >= _MIN_REQUESTS else 0.0
    return RecordedLoader(model, first.at, _left_at(samples), foreign_share, was_away)


def _was_away(samples: Sequence[RecordedInstance]) -> bool:
    """Return whether an instance got no requests for a time, and then some again."""
    is_up = [sample.state == EndpointState.UP.value for sample in samples]
    return False in is_up and True in is_up[is_up.index(False) :]


def _left_at(samples: Sequence[RecordedInstance]) -> float | None:
    """Return since when an instance gets no requests at the end of the recording, or None."""
    left_at = None
    for sample in reversed(samples):
        if sample.state == EndpointState.UP.value:
            break
        left_at = sample.at
    return left_at


def _speeds(
    slot_s: Mapping[LoaderKey, Sequence[float]],
    samples: Mapping[LoaderKey, Sequence[RecordedInstance]],
) -> dict[LoaderKey, float]:
    """Return the speed of each loader, compared with the mean of the requests of its service.

    If few requests ran at a loader, the service time that it reports is taken, which it knows of
    more of them; without one it is as fast as the others.
    """
    by_service: dict[str, list[float]] = defaultdict(list)
    for (service, _), seconds in slot_s.items():
        by_service[service] += seconds
    means = {service: geometric_mean(all_s) for service, all_s in by_service.items() if all_s}
    speeds = {}
    for key, seconds in slot_s.items():
        reported_s = samples[key][-1].service_ms / 1000
        mean_s = means.get(key[0], 0.0)
        own_s = geometric_mean(seconds) if len(seconds) >= _MIN_REQUESTS else reported_s
        speeds[key] = mean_s / own_s if own_s and mean_s else 1.0
    return speeds


def _draw_missing(
    works: list[float | None], requests: Sequence[RecordedRequest], rng: Random
) -> None:
    """Fill in the work of requests that no loader got."""
    by_kind: dict[tuple[str, bool], list[float]] = defaultdict(list)
    for work, request in zip(works, requests, strict=True):
        if work is not None:
            by_kind[request.service, request.is_session].append(work)
    for index, request in enumerate(requests):
        if works[index] is None and (candidates := by_kind[request.service, request.is_session]):
            works[index] = rng.choice(candidates)
