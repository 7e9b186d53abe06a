"""Recorded traffic in virtual time, as it was or with another policy, fleet or rate. Pure.

The gateways decide with the classes of the product; the loaders are those that `fleet.py` sees in
the recording. What a replay cannot tell is in `docs/replay.md`.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from statistics import median, median_low
from typing import Self

from gateway.simulation.actors import (
    GatewayModel,
    LoaderModel,
    Probes,
    SimGateway,
    SimLoader,
    SimRequest,
)
from gateway.simulation.fleet import Fleet, RecordedLoader
from gateway.simulation.recording import RecordedRequest, Recording
from gateway.simulation.virtual_time import VirtualTimeLoop
from lb.balancer.policies import policy_factories
from lb.balancer.policy import Policy
from lb.endpoints.report import InstanceKey, Report, ReportMode
from schemas.model.errors import LOADER_FULL

_REPORT_DELAY_S = 0.001
# Instances that a gateway knew this soon were there before.
_FIRST_SAMPLES_S = 1.0
_NO_SLOT_STATUS = 503
_PROGRESS_STEP = 1000


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is other than it was: "" is the recorded policy, of each gateway.

    The instances at the addresses `without` are away, each service has `added` more; requests come
    `rate` times as fast.
    """

    policy: str = ""
    without: frozenset[str] = frozenset()
    added: int = 0
    rate: float = 1.0


@dataclass(frozen=True, slots=True)
class TrafficFigures:
    """What came of requests. `latencies_s` and `waits_s` are in ascending order.

    `latencies_s` are those of requests that were answered, without sessions, from when they asked
    for a slot until the loader's answer; `waits_s` those of all that got a slot. `failed`
    got no slot in time. `by_instance` counts by address. The requests came within `seconds`.
    """

    requests: int
    failed: int
    seconds: float
    latencies_s: Sequence[float]
    waits_s: Sequence[float]
    by_instance: Mapping[str, int]

    @classmethod
    def of(cls, requests: Sequence[RecordedRequest]) -> Self:
        """Return the figures of requests, recorded or replayed."""
        served = [r for r in requests if r.has_run()]
        unary = [r for r in served if not r.is_session]
        arrivals = [r.at for r in requests]
        return cls(
            len(requests),
            len(requests) - len(served),
            max(arrivals) - min(arrivals) if arrivals else 0.0,
            sorted(r.called_at + r.call_s - r.at for r in unary),
            sorted(r.waited_s for r in served),
            Counter(r.instance for r in served),
        )

    def latency_ms(self, share: float) -> float:
        """Return the milliseconds that this share of the requests took at most; 0 without any."""
        return _quantile(self.latencies_s, share) * 1000

    def wait_ms(self, share: float) -> float:
        """Return the milliseconds that this share of the requests waited at most."""
        return _quantile(self.waits_s, share) * 1000


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def replay(
    recording: Recording,
    fleet: Fleet,
    scenario: Scenario,
    seed: int = 1,
    on_progress: Callable[[int], None] = lambda _: None,
) -> list[RecordedRequest]:
    """Return the requests as they would have been recorded; the same for the same `seed`.

    `on_progress` is called with the number of requests that have ended, now and then.
    """
    return _Replay(recording, fleet, scenario, seed, on_progress).run()


class _Replay:
    """One replay. Time 0 is the start of the first recording.

    `_arrivals` are the requests that are still to arrive, the next one last, with their works.
    """

    def __init__(
        self,
        recording: Recording,
        fleet: Fleet,
        scenario: Scenario,
        seed: int,
        on_progress: Callable[[int], None],
    ) -> None:
        self._loop = VirtualTimeLoop()
        self._scenario = scenario
        self._on_progress = on_progress
        self._ended: list[RecordedRequest] = []
        pairs = zip(recording.requests, fleet.works, strict=True)
        self._arrivals = [(request, work) for request, work in pairs if work is not None][::-1]
        self._total = len(self._arrivals)
        self._starts_at = min(start.at for start in recording.starts.values())
        self._loaders: dict[InstanceKey, SimLoader] = {}
        for number, loader in enumerate(_scenario_loaders(fleet.loaders, scenario)):
            rng = Random(seed * 7919 + 1000 + number)  # noqa: S311 (a simulation)
            self._add_loader(loader, rng)
        self._gateways = {
            name: SimGateway(
                GatewayModel(name, start.wait_s, start.max_waiting, start.ramp_s),
                self._loop,
                rng,
                self._policy_factory(scenario.policy or start.policy, rng),
                self._loaders,
                lambda _: None,
                self._on_failed,
            )
            for number, (name, start) in enumerate(sorted(recording.starts.items()))
            for rng in [Random(seed * 7919 + number)]  # noqa: S311
        }

    def run(self) -> list[RecordedRequest]:
        """Run until the last request has ended, and return them all in the order of their ends."""
        self._loop.call_at(0.0, self._schedule_arrival)
        self._loop.run(lambda: len(self._ended) < self._total)
        return self._ended

    def _policy_factory(self, name: str, rng: Random) -> Callable[[], Policy]:
        return policy_factories(rng, Probes(self._loop, self._loaders).send)[name]

    def _add_loader(self, recorded: RecordedLoader, rng: Random) -> None:
        """Create a loader and schedule when it comes and goes."""
        loader = SimLoader(recorded.model, self._loop, rng, self._on_finished, self._on_report)
        self._loaders[loader.instance.key] = loader
        was_there = recorded.joins_at <= self._starts_at + _FIRST_SAMPLES_S
        joins_at = 0.0 if was_there else self._virtual_time(recorded.joins_at)
        is_static = recorded.model.report_mode is ReportMode.NONE
        join = partial(self._add_static, loader) if is_static else partial(loader.start)
        self._loop.call_at(joins_at, join)
        if recorded.leaves_at is not None:
            self._loop.call_at(max(0.0, self._virtual_time(recorded.leaves_at)), loader.leave)

    def _virtual_time(self, at: float) -> float:
        return (at - self._starts_at) / self._scenario.rate

    def _add_static(self, loader: SimLoader) -> None:
        for gateway in self._gateways.values():
            gateway.table.add_static(loader.instance, self._loop.now)

    def _on_report(self, report: Report) -> None:
        if report.instance.report_mode is ReportMode.NONE:
            return
        now = self._loop.now
        arrives_at = now + _REPORT_DELAY_S if now else now  # the first ones are there at once
        self._loop.call_at(arrives_at, self._deliver_report, report, now)

    def _deliver_report(self, report: Report, sent_at: float) -> None:
        for gateway in self._gateways.values():
            gateway.table.apply(report, sent_at)

    def _schedule_arrival(self) -> None:
        if self._arrivals:
            request, work_s = self._arrivals.pop()
            arrives_at = self._virtual_time(request.at)
            self._loop.call_at(arrives_at, self._on_arrival, request, work_s)

    def _on_arrival(self, recorded: RecordedRequest, work_s: float) -> None:
        request = SimRequest(
            recorded.service,
            self._loop.now,
            work_s,
            recorded.gateway,
            recorded.key,
            recorded.app,
            is_session=recorded.is_session,
        )
        self._gateways[recorded.gateway].submit(request)
        self._schedule_arrival()

    def _on_finished(self, request: SimRequest) -> None:
        lease = request.lease
        if lease is not None:  # a loader works for those alone that have one
            lease.release(is_session=request.is_session)
            request.lease = None
            self._record_end(request, lease.instance.addr)

    def _on_failed(self, request: SimRequest) -> None:
        self._record_end(request, "")

    def _record_end(self, request: SimRequest, addr: str) -> None:
        """Record a request that has ended: at the instance with this address, or without a slot."""
        sent_at = request.sent_at if addr else self._loop.now
        self._ended.append(
            RecordedRequest(
                request.gateway,
                self._starts_at + request.arrived_at,
                request.service,
                addr,
                self._starts_at + sent_at,
                self._loop.now - sent_at,
                sent_at - request.arrived_at,
                200 if addr else _NO_SLOT_STATUS,
                0 if addr else LOADER_FULL.code,
                len(request.tried_addrs) + bool(addr),
                request.app_id,
                request.affinity_key,
                request.is_session,
            )
        )
        if not len(self._ended) % _PROGRESS_STEP:
            self._on_progress(len(self._ended))


def _scenario_loaders(
    recorded: Sequence[RecordedLoader], scenario: Scenario
) -> list[RecordedLoader]:
    """Return the loaders of a scenario; added ones are as those of their service are on average."""
    loaders = [loader for loader in recorded if loader.model.addr not in scenario.without]
    by_service: dict[str, list[LoaderModel]] = defaultdict(list)
    for loader in recorded:
        by_service[loader.model.service].append(loader.model)
    for service, models in sorted(by_service.items()):
        for number in range(scenario.added):
            model = replace(
                models[0],
                addr=f"added-{number + 1}:1",
                service=service,
                slots=median_low(model.slots for model in models),
                limit=median_low(model.limit for model in models),
                speed=median(model.speed for model in models),
                served=median_low(model.served for model in models),
                service_ms=median(model.service_ms for model in models),
                overhead_s=median(model.overhead_s for model in models),
            )
            loaders.append(RecordedLoader(model, 0.0, None, 0.0))
    return loaders
