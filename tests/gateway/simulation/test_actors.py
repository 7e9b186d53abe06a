"""A simulated loader works, queues, refuses, slows down and reports as one would."""

from random import Random

import pytest

from gateway.simulation.actors import (
    GatewayModel,
    LoaderModel,
    SimGateway,
    SimLoader,
    SimRequest,
)
from gateway.simulation.virtual_time import VirtualTimeLoop
from lb.balancer.least_expected_delay import LeastExpectedDelay
from lb.endpoints.report import Report, ServingState


class SimLoaderFixture:
    """One loader, and what came of it."""

    def __init__(self, limit: int = 10_000, **model_fields: float) -> None:
        self.loop = VirtualTimeLoop()
        self.completions: list[tuple[float, str]] = []
        self.reports: list[Report] = []
        model = LoaderModel("loader:1", "ocr", 2, limit, **model_fields)  # type: ignore[arg-type]
        self.loader = SimLoader(
            model, self.loop, Random(1), self.record_completion, self.reports.append
        )

    def record_completion(self, request: SimRequest) -> None:
        self.completions.append((round(self.loop.now, 6), request.gateway))

    def accept(self, name: str, work_s: float) -> bool:
        return self.loader.try_accept(SimRequest("ocr", self.loop.now, work_s, name))

    def run_until(self, end_at: float) -> None:
        fired: list[int] = []
        self.loop.call_at(end_at, lambda: fired.append(1))
        self.loop.run(lambda: not fired)


def test_requests_queue_in_order_beyond_the_slots() -> None:
    fixture = SimLoaderFixture()
    for name in "abcd":
        assert fixture.accept(name, 0.1)
    fixture.run_until(1.0)
    assert fixture.completions == [(0.1, "a"), (0.1, "b"), (0.2, "c"), (0.2, "d")]
    assert fixture.loader.limiter.inflight == 0


def test_requests_beyond_the_limit_are_rejected() -> None:
    fixture = SimLoaderFixture(limit=3)
    assert [fixture.accept(name, 0.1) for name in "abcd"] == [True, True, True, False]


def test_running_requests_continue_at_the_new_speed() -> None:
    fixture = SimLoaderFixture()
    fixture.accept("a", 0.1)
    fixture.loop.call_at(0.05, fixture.loader.change_speed, 0.5)
    fixture.run_until(0.5)
    assert fixture.completions[0] == (0.15, "a"), "half of the work took twice as long"


def test_reports_on_change_and_keepalive() -> None:
    fixture = SimLoaderFixture()
    fixture.loader.start()
    assert len(fixture.reports) == 1
    fixture.run_until(0.201)
    assert len(fixture.reports) == 5, "each 50 ms"
    fixture.accept("a", 9.0)
    fixture.accept("b", 9.0)
    fixture.run_until(0.2102)
    assert fixture.reports[-1].load.running == 2
    assert fixture.reports[-1].load.requests_by_gateway == {"a": 1, "b": 1}


def test_periodic_reports_ignore_changes() -> None:
    fixture = SimLoaderFixture(report_period_s=1.0)
    fixture.loader.start()
    fixture.accept("a", 9.0)
    fixture.accept("b", 9.0)
    fixture.run_until(10.0)
    assert len(fixture.reports) == pytest.approx(11, abs=1)


def test_loader_that_leaves_says_so_once_and_finishes_its_requests() -> None:
    fixture = SimLoaderFixture()
    fixture.loader.start()
    fixture.accept("a", 0.1)
    fixture.loader.leave()
    assert fixture.reports[-1].load.serving_state is ServingState.DOWN
    reports = len(fixture.reports)
    assert not fixture.accept("b", 0.1)
    fixture.run_until(1.0)
    assert fixture.completions == [(0.1, "a")]
    assert len(fixture.reports) == reports


def test_session_lasts_as_long_at_any_speed() -> None:
    fixture = SimLoaderFixture(speed=4.0)
    session = SimRequest("ocr", 0.0, 0.4, "s", is_session=True)
    fixture.loader.try_accept(session)
    fixture.accept("a", 0.4)
    fixture.loop.call_at(0.05, fixture.loader.change_speed, 0.5)
    fixture.run_until(1.0)
    assert fixture.completions == [(0.15, "a"), (0.4, "s")]


def test_overhead_is_spent_without_a_slot() -> None:
    fixture = SimLoaderFixture(overhead_s=0.05)
    for name in "abc":
        fixture.accept(name, 0.1)
    fixture.run_until(1.0)
    assert fixture.completions == [(0.15, "a"), (0.15, "b"), (0.25, "c")]


class GatewayFixture:
    """One gateway, one loader with one slot and no queue, and what came of it."""

    def __init__(self, wait_s: float) -> None:
        self.loop = VirtualTimeLoop()
        self.finished: list[tuple[float, str]] = []
        self.failed: list[str] = []
        self.refused: list[str] = []
        model = LoaderModel("loader:1", "ocr", slots=1, limit=1)
        self.loader = SimLoader(model, self.loop, Random(1), self.on_finished, self.report)
        self.gateway = SimGateway(
            GatewayModel("g", wait_s),
            self.loop,
            Random(1),
            lambda: LeastExpectedDelay(Random(1)),
            {self.loader.instance.key: self.loader},
            lambda request: self.refused.append(request.app_id),
            lambda request: self.failed.append(request.app_id),
        )
        self.loader.start()

    def report(self, report: Report) -> None:
        self.gateway.table.apply(report, self.loop.now)

    def on_finished(self, request: SimRequest) -> None:
        assert request.lease is not None
        request.lease.release()
        self.finished.append((round(self.loop.now, 6), request.app_id))

    def submit(self, *names: str, service: str = "ocr") -> None:
        for name in names:
            self.gateway.submit(SimRequest(service, self.loop.now, 0.1, "g", app_id=name))

    def run_until(self, end_at: float) -> None:
        fired: list[int] = []
        self.loop.call_at(end_at, lambda: fired.append(1))
        self.loop.run(lambda: not fired)


def test_requests_wait_at_the_gateway_while_all_loaders_are_full() -> None:
    fixture = GatewayFixture(wait_s=1.0)
    fixture.submit("a", "b", "c")
    fixture.run_until(1.0)
    assert [name for _, name in fixture.finished] == ["a", "b", "c"]
    assert fixture.failed == []


def test_request_fails_without_a_slot_in_time_and_without_a_loader() -> None:
    fixture = GatewayFixture(wait_s=0.05)
    fixture.submit("a", "b")
    fixture.submit("c", service="asr")
    assert fixture.failed == ["c"], "no instance of its service"
    fixture.run_until(1.0)
    assert [name for _, name in fixture.finished] == ["a"]
    assert fixture.failed == ["c", "b"]


def test_request_that_a_full_loader_rejects_waits_and_is_not_lost() -> None:
    fixture = GatewayFixture(wait_s=1.0)
    assert fixture.loader.try_accept(SimRequest("ocr", 0.0, 0.1, "g2"))  # of another gateway
    fixture.loader._on_finished = lambda r: fixture.on_finished(r) if r.lease else None
    fixture.submit("a")
    fixture.run_until(1.0)
    assert fixture.refused == ["a"]
    assert [name for _, name in fixture.finished] == ["a"]
    assert fixture.failed == []
