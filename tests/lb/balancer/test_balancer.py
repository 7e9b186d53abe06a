"""Tickets give back exactly once, whatever ends the block; many of them leave nothing."""

import asyncio
import contextlib
import gc
from collections.abc import Callable
from dataclasses import replace
from math import log
from random import Random
from typing import Any

import pytest

from gateway.simulation.virtual_time import VirtualTimeLoop
from lb.balancer.affinity import key_fraction
from lb.balancer.balancer import Balancer, Lease
from lb.balancer.least_expected_delay import LeastExpectedDelay
from lb.balancer.pending_queue import CONTENTION_S, PendingRequest
from lb.balancer.policies import policy_factories
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.outlier import EjectionState
from lb.endpoints.report import Instance, Load, Report, ReportMode
from lb.endpoints.table import EndpointTable
from lb.endpoints.traffic import TrafficRules
from schemas.model.errors import (
    CLIENT_GONE,
    DEADLINE,
    INPUT_REFUSED,
    LOADER_FULL,
    LOADER_LOST,
    NO_INSTANCE,
    UNREACHABLE,
    WRAPPER_RAISED,
    AseError,
)


class Fleet:
    """Instances, a balancer over them, a virtual clock; what was told of health."""

    def __init__(
        self, count: int = 1, *, total: int = 4, best: int = 0, digest: str = "d", **options: Any
    ) -> None:
        self.loop = VirtualTimeLoop()
        self.table = EndpointTable("g", silence_timeout=None)
        self.seq = 1
        self.instances = [
            Instance("ase", "ocr", f"a:{n}", 7, digest=digest, total=total, best=best or total)
            for n in range(count)
        ]
        self.ejection_changes: list[str] = []
        rng = Random(1)
        self.balancer = Balancer(
            self.table,
            lambda: LeastExpectedDelay(rng),
            clock=self.loop.clock,
            rng=rng,
            call_later=self.loop.call_later,
            on_ejection_change=self.record_ejection_change,
            **options,
        )
        self.report()

    def record_ejection_change(self, endpoint: Endpoint) -> None:
        self.ejection_changes.append(
            f"{endpoint.instance.addr} {endpoint.outlier_detector.state.value}"
        )

    def report(self, **load_fields: Any) -> None:
        self.seq += 1
        for instance in self.instances:
            load = Load(self.seq, served=99, **load_fields)
            self.table.apply(Report(instance, load), self.loop.now)

    def endpoint(self, index: int = 0) -> Endpoint:
        endpoint = self.table.get(self.instances[index].key)
        assert endpoint is not None
        return endpoint

    def eject_first(self) -> None:
        """Let the first instance be unreachable."""
        self.balancer.on_request_end(self.endpoint(), UNREACHABLE, False, self.loop.now)

    def run_request(self, error: BaseException | None = None) -> None:
        """Let a request end."""
        try:
            with self.balancer.acquire("ocr", "d"):
                if error is not None:
                    raise error
        except BaseException as raised:
            if raised is not error:
                raise

    def advance_to(self, until: float) -> None:
        fired: list[int] = []
        self.loop.call_at(until, lambda: fired.append(1))
        self.loop.run(lambda: not fired)


def test_lease_is_counted_and_released() -> None:
    fleet = Fleet()
    with fleet.balancer.acquire("ocr", "d") as lease:
        assert lease.instance.addr == "a:0"
        assert fleet.endpoint().inflight == 1
    assert fleet.endpoint().inflight == 0
    lease.release()
    assert fleet.endpoint().inflight == 0, "a second release does nothing"


@pytest.mark.parametrize(
    ("error", "abandoned"),
    [
        (AseError(LOADER_LOST), 0),
        (AseError(LOADER_FULL), 0),
        (AseError(UNREACHABLE), 0),
        (AseError(DEADLINE), 1),
        (AseError(CLIENT_GONE), 1),
        (ValueError("x"), 1),
        (asyncio.CancelledError(), 1),
        (TimeoutError(), 1),
        (KeyboardInterrupt(), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_releases_the_lease(error: BaseException, abandoned: int) -> None:
    fleet = Fleet()
    fleet.run_request(error)
    assert (fleet.endpoint().inflight, fleet.endpoint().abandoned) == (0, abandoned)
    fleet.report(requests_by_gateway={})
    assert fleet.endpoint().outstanding() == 0


def test_leaked_lease_is_released_and_counted() -> None:
    fleet = Fleet()
    lease: Any = fleet.balancer.acquire("ocr", "d")
    assert fleet.endpoint().inflight == 1
    del lease
    gc.collect()
    assert fleet.endpoint().inflight == 0
    assert fleet.balancer.counts.leaked == 1
    fleet.run_request()
    assert fleet.balancer.counts.leaked == 1, "one that was given back is not dropped"


def test_cancelled_tasks_release_their_leases() -> None:
    fleet = Fleet(total=100)

    async def hold() -> None:
        with fleet.balancer.acquire("ocr", "d"):
            await asyncio.Event().wait()

    async def main() -> None:
        tasks = [asyncio.create_task(hold()) for _ in range(100)]
        await asyncio.sleep(0)
        assert fleet.endpoint().inflight == 100
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    assert fleet.endpoint().inflight == 0


@pytest.mark.unmeasured
def test_many_requests_with_failures_leave_no_inflight() -> None:
    fleet, rng = Fleet(8, total=1000), Random(3)
    errors = [
        AseError(CLIENT_GONE),
        AseError(LOADER_LOST),
        TimeoutError(),
        asyncio.CancelledError(),
    ]
    leases: list[Any] = []
    for index in range(100_000):
        lease = fleet.balancer.acquire("ocr", "d")
        if index % 10:
            leases.append(lease)
        else:
            error = errors[index // 10 % 4]
            lease.__exit__(type(error), error, None)
        if index % 100 == 0:
            fleet.report(requests_by_gateway={})
        if len(leases) > 500:
            leases[rng.randrange(500)].release()
            leases[rng.randrange(500)] = leases.pop()
    for lease in leases:
        lease.release()
    leases.clear()
    del lease
    fleet.report(requests_by_gateway={})
    assert [endpoint.inflight for endpoint in fleet.table] == [0] * 8
    assert [endpoint.outstanding() for endpoint in fleet.table] == [0] * 8


@pytest.mark.parametrize(
    ("digest", "active_digest", "is_found"), [("d", "d", 1), ("d", "e", 0), ("", "e", 1)]
)
def test_only_the_active_schema_gets_traffic(
    digest: str, active_digest: str, is_found: int
) -> None:
    fleet = Fleet(digest=digest)
    if is_found:
        with fleet.balancer.acquire("ocr", active_digest):
            assert fleet.endpoint().inflight == 1
    else:
        with pytest.raises(AseError) as error_info:
            fleet.balancer.acquire("ocr", active_digest)
        assert error_info.value.spec is NO_INSTANCE


def test_no_instance_is_an_error() -> None:
    fleet = Fleet()
    with pytest.raises(AseError, match="'other'"):
        fleet.balancer.acquire("other", "d")
    with pytest.raises(AseError) as error_info:
        fleet.balancer.acquire("ocr", "d", ["a:0"])
    assert error_info.value.spec is NO_INSTANCE


def fail_requests(error: AseError, times: int) -> Callable[[Fleet], None]:
    def run_failures(fleet: Fleet) -> None:
        for _ in range(times):
            fleet.run_request(error)

    return run_failures


@pytest.mark.parametrize(
    ("run_failures", "state"),
    [
        (fail_requests(AseError(WRAPPER_RAISED), 4), EjectionState.ADMITTED),
        (fail_requests(AseError(WRAPPER_RAISED), 5), EjectionState.EJECTED),
        (fail_requests(AseError(DEADLINE), 5), EjectionState.EJECTED),
        (fail_requests(AseError(INPUT_REFUSED), 9), EjectionState.ADMITTED),  # the caller's fault
        (fail_requests(AseError(CLIENT_GONE), 9), EjectionState.ADMITTED),
        (fail_requests(AseError(LOADER_FULL), 1), EjectionState.ADMITTED),
        (fail_requests(AseError(UNREACHABLE), 1), EjectionState.EJECTED),
    ],
    ids=range(7),
)
def test_loader_failures_eject_the_endpoint(
    run_failures: Callable[[Fleet], None], state: EjectionState
) -> None:
    fleet = Fleet(total=100)
    run_failures(fleet)
    assert fleet.endpoint().outlier_detector.state is state
    assert fleet.ejection_changes == (["a:0 ejected"] if state is EjectionState.EJECTED else [])


def test_ejected_endpoint_returns_after_one_trial_request() -> None:
    fleet = Fleet(3, total=100)
    fleet.eject_first()
    for _ in range(50):
        with fleet.balancer.acquire("ocr", "d") as lease:
            assert lease.instance.addr != "a:0"
    fleet.advance_to(2.0)
    trial = fleet.balancer.acquire("ocr", "d")
    assert trial.instance.addr == "a:0", "its trial"
    for _ in range(50):
        with fleet.balancer.acquire("ocr", "d") as lease:
            assert lease.instance.addr != "a:0", "one alone"
    trial.release()
    assert fleet.ejection_changes[-1] == "a:0 in"
    chosen_addrs = set()
    for _ in range(50):
        with fleet.balancer.acquire("ocr", "d") as lease:
            chosen_addrs.add(lease.instance.addr)
    assert "a:0" in chosen_addrs


@pytest.mark.parametrize("name", list(policy_factories(Random(1), lambda *_: None)))
def test_ejected_endpoint_returns_with_any_policy(name: str) -> None:
    fleet = Fleet(3, total=100)
    rng = Random(2)
    policy_factory = policy_factories(rng, lambda *_: None)[name]
    balancer = Balancer(
        fleet.table,
        policy_factory,
        clock=fleet.loop.clock,
        rng=rng,
        call_later=fleet.loop.call_later,
    )
    balancer.on_request_end(fleet.endpoint(), UNREACHABLE, False, 0.0)
    fleet.advance_to(2.0)
    chosen_addrs = []
    for _ in range(60):
        with balancer.acquire("ocr", "d") as lease:
            chosen_addrs.append(lease.instance.addr)
    assert chosen_addrs[0] == "a:0", "its trial"
    assert "a:0" in chosen_addrs[1:], "and then its share"


def test_unused_lease_records_no_result() -> None:
    fleet = Fleet(1, total=1)
    for _ in range(10):
        lease = fleet.balancer.acquire("ocr", "d")
        lease.release_unused()
        lease.release_unused()
    endpoint = fleet.endpoint()
    assert (endpoint.inflight, endpoint.abandoned, endpoint.outlier_detector.state) == (
        0,
        0,
        EjectionState.ADMITTED,
    )
    assert fleet.balancer.counts.leaked == 0


def test_trial_without_result_is_repeated() -> None:
    fleet = Fleet(3, total=100)
    fleet.eject_first()
    fleet.advance_to(2.0)
    with (
        pytest.raises(asyncio.CancelledError),
        fleet.balancer.acquire("ocr", "d") as lease,
    ):
        assert lease.instance.addr == "a:0"
        raise asyncio.CancelledError
    with fleet.balancer.acquire("ocr", "d") as lease:
        assert lease.instance.addr == "a:0"


def test_rejecting_endpoint_is_full_until_its_next_report() -> None:
    fleet = Fleet(total=4)
    fleet.run_request(AseError(LOADER_FULL))
    with pytest.raises(AseError) as error_info:
        fleet.balancer.acquire("ocr", "d")
    assert error_info.value.spec is LOADER_FULL
    fleet.report(running=1, requests_by_gateway={})
    fleet.run_request()


def test_non_reporting_endpoint_is_retried_after_rejection() -> None:
    fleet = Fleet(0)
    fleet.table.add_static(Instance("ase", "ocr", "s:1", total=4, best=4), 0.0)
    fleet.run_request(AseError(LOADER_FULL))
    with pytest.raises(AseError):
        fleet.balancer.acquire("ocr", "d")
    fleet.advance_to(0.02)
    fleet.run_request()


def test_waiting_request_gets_the_first_released_slot() -> None:
    fleet = Fleet(2, total=1)
    first_lease, second_lease = (
        fleet.balancer.acquire("ocr", "d"),
        fleet.balancer.acquire("ocr", "d"),
    )
    with pytest.raises(AseError) as error_info:
        fleet.balancer.acquire("ocr", "d")
    assert error_info.value.spec is LOADER_FULL
    done_requests: list[Any] = []
    fleet.balancer.wait("ocr", "d", "", "", 1.0, False, done_requests.append)
    fleet.loop.call_at(0.3, first_lease.release)
    fleet.advance_to(0.301)
    assert done_requests[0].outcome().instance.addr == "a:0"
    second_lease.release()
    with fleet.balancer.acquire("ocr", "d"):
        assert fleet.endpoint(1).inflight == 1


def test_later_request_does_not_overtake_waiting_ones() -> None:
    fleet = Fleet(1, total=1)
    lease = fleet.balancer.acquire("ocr", "d")
    done_requests: list[Any] = []
    fleet.balancer.wait("ocr", "d", "", "", 1.0, False, done_requests.append)
    lease.release()
    with pytest.raises(AseError) as error_info:
        fleet.balancer.acquire("ocr", "d")
    assert error_info.value.spec is LOADER_FULL
    fleet.advance_to(0.001)
    assert done_requests[0].outcome().instance.addr == "a:0"


def test_report_of_free_capacity_wakes_waiting_requests() -> None:
    fleet = Fleet(1, total=4)
    fleet.report(running=4, requests_by_gateway={})
    done_requests: list[Any] = []
    fleet.balancer.wait("ocr", "d", "", "", 1.0, False, done_requests.append)
    fleet.advance_to(0.1)
    assert not done_requests
    for _ in range(50):  # each report with the probability of our share
        fleet.report(running=3, requests_by_gateway={})
    fleet.advance_to(0.1001)
    assert len(done_requests) == 1


def test_waiting_requests_are_limited() -> None:
    fleet = Fleet(1, total=1, max_waiting=2)
    lease = fleet.balancer.acquire("ocr", "d")
    done_requests: list[Any] = []
    for _ in range(3):
        fleet.balancer.wait("ocr", "d", "", "", 1.0, False, done_requests.append)
    fleet.advance_to(0.5)
    assert len(done_requests) == 1, "the third is told at once"
    with pytest.raises(AseError) as error_info:
        done_requests[0].outcome()
    assert error_info.value.spec is LOADER_FULL
    lease.release()


def outcome_name(request: Any) -> str:
    try:
        request.outcome()
    except AseError as error:
        return error.spec.name
    return "lease"


def test_a_full_queue_has_place_for_an_application_with_fewer_requests() -> None:
    fleet = Fleet(1, total=1, max_waiting=3)
    fleet.balancer.acquire("ocr", "d")
    done: list[Any] = []
    heavy = [fleet.balancer.wait("ocr", "d", "", "a", 1.0, False, done.append) for _ in range(3)]
    assert fleet.balancer.must_shed("ocr", "d", "a", 1.0)
    assert not fleet.balancer.must_shed("ocr", "d", "b", 1.0)
    light = fleet.balancer.wait("ocr", "d", "", "b", 1.0, False, done.append)
    assert done == [heavy[2]], "the last of the heaviest made place"
    assert outcome_name(heavy[2]) == "full"
    fleet.balancer.wait("ocr", "d", "", "b", 1.0, False, done.append)
    fleet.advance_to(0.001)
    assert len(done) == 2, "now both have the same: it is refused"
    assert light not in done


def test_one_service_leaves_the_others_places_in_the_queue() -> None:
    fleet = Fleet(1, total=1, max_waiting=3)
    other = Instance("ase", "asr", "b:0", 7, digest="d", total=1, best=1)
    fleet.table.apply(Report(other, Load(2, served=99)), 0.0)
    fleet.balancer.acquire("ocr", "d")
    fleet.balancer.acquire("asr", "d")
    done: list[Any] = []
    heavy = [fleet.balancer.wait("ocr", "d", "", "a", 1.0, False, done.append) for _ in range(3)]
    light = fleet.balancer.wait("asr", "d", "", "a", 1.0, False, done.append)
    fleet.advance_to(0.001)
    assert done == [heavy[2]]
    assert light not in done


def test_nothing_is_shed_while_nobody_waits() -> None:
    fleet = Fleet(1, total=1)
    assert not fleet.balancer.is_crowded("ocr")
    assert not fleet.balancer.must_shed("ocr", "d", "a", 0.0)
    lease = fleet.balancer.acquire("ocr", "d")
    assert not fleet.balancer.must_shed("ocr", "d", "a", 1.0), "it may wait"
    assert fleet.balancer.must_shed("ocr", "d", "a", 0.0), "it may not, and all are full"
    fleet.balancer.wait("ocr", "d", "", "a", 1.0, False, lambda _: None)
    assert fleet.balancer.is_crowded("ocr")
    assert not fleet.balancer.is_crowded("asr")
    lease.release()


def test_requests_that_cannot_be_served_in_time_are_shed() -> None:
    """A queue that is served once a second, and requests with half a second."""
    fleet = Fleet(1, total=1)

    def on_done(request: Any) -> None:
        fleet.loop.call_at(fleet.loop.now + 1.0, request.outcome().release)

    lease = fleet.balancer.acquire("ocr", "d")
    fleet.loop.call_at(1.0, lease.release)
    for _ in range(8):
        fleet.balancer.wait("ocr", "d", "", "a", 99.0, False, on_done)
    assert not fleet.balancer.must_shed("ocr", "d", "a", 0.5), "nothing is known yet"
    fleet.advance_to(5.5)
    assert fleet.balancer.must_shed("ocr", "d", "a", 0.5)
    assert not fleet.balancer.must_shed("ocr", "d", "a", 60.0)
    done: list[Any] = []
    fleet.balancer.wait("ocr", "d", "", "a", 0.5, False, done.append)
    fleet.advance_to(5.501)
    assert [outcome_name(request) for request in done] == ["full"], "at once"


def test_retries_have_a_budget() -> None:
    fleet = Fleet()
    assert sum(fleet.balancer.try_acquire_retry() for _ in range(50)) == 10
    for _ in range(51):
        fleet.run_request()
    assert sum(fleet.balancer.try_acquire_retry() for _ in range(50)) == 10


def test_latencies_before_any_service_time_is_known_do_not_count_afterwards() -> None:
    """They are compared with 1 ms: a loader with few requests would be distrusted for minutes."""
    fleet = Fleet(2)
    early, late = (fleet.balancer.acquire("ocr", "d") for _ in range(2))
    fleet.loop.now += 0.3
    early.release()
    endpoints = list(fleet.table)
    assert max(endpoint.latency_log_ratio for endpoint in endpoints) > 1
    fleet.report(service_ms=300.0)
    assert [endpoint.latency_samples for endpoint in endpoints] == [0, 0]
    late.release()
    assert [endpoint.latency_samples for endpoint in endpoints] == [0, 0], "its pick was earlier"
    with fleet.balancer.acquire("ocr", "d"):
        fleet.loop.now += 0.3
    assert sum(endpoint.latency_samples for endpoint in endpoints) == 1
    assert max(abs(endpoint.latency_log_ratio) for endpoint in endpoints) < 0.1


def test_slower_static_instance_gets_fewer_requests() -> None:
    fleet = Fleet(0)
    for name in ("slow", "fast"):
        fleet.table.add_static(Instance("ase", "ocr", f"{name}:1", total=100, best=4), 0.0)
    for _ in range(400):
        lease = fleet.balancer.acquire("ocr", "")
        fleet.loop.now += 0.1 if lease.instance.addr == "slow:1" else 0.01
        lease.release()
        fleet.table.expire(fleet.loop.now)
    weights = {endpoint.instance.addr: endpoint.load_weight for endpoint in fleet.table}
    assert weights["slow:1"] > 5 * weights["fast:1"]


def test_static_instance_is_limited_by_own_inflight() -> None:
    fleet = Fleet(0)
    fleet.table.add_static(Instance("ase", "ocr", "s:1", total=2, best=2), 0.0)
    (endpoint,) = fleet.table
    assert endpoint.report_mode is ReportMode.NONE
    first_lease, second_lease = fleet.balancer.acquire("ocr", ""), fleet.balancer.acquire("ocr", "")
    assert endpoint.outstanding() == 2
    with pytest.raises(AseError):
        fleet.balancer.acquire("ocr", "")
    first_lease.release(CLIENT_GONE, abandoned=True)
    second_lease.release()
    assert endpoint.outstanding() == 0, "nobody would tell when a ghost is gone"


def test_reported_failures_eject() -> None:
    fleet = Fleet(2)
    fleet.report()
    fleet.instances.pop()
    fleet.seq += 1
    load = Load(fleet.seq, served=104, errors=5)
    fleet.table.apply(Report(fleet.instances[0], load), fleet.loop.now)
    assert fleet.ejection_changes == ["a:0 ejected"]
    assert fleet.balancer.counts.ejections == {"reported_failures": 1}
    with fleet.balancer.acquire("ocr", "d") as lease:
        assert lease.instance.addr == "a:1"


def test_latency_is_compared_with_delay_expected_at_acquire() -> None:
    fleet = Fleet(1)
    fleet.report(service_ms=20.0)
    endpoint = fleet.endpoint()
    lease = fleet.balancer.acquire("ocr", "d")
    expected_ms = endpoint.expected_ms()
    fleet.report(service_ms=80.0)
    fleet.advance_to(0.02)
    lease.release()
    assert endpoint.latency_samples == 1
    assert endpoint.latency_log_ratio == pytest.approx(log(20.0 / expected_ms), abs=0.01)
    fleet.run_request(AseError(LOADER_LOST))
    assert endpoint.latency_samples == 1, "failures are another matter"


def fill(fleet: Fleet) -> list[Lease]:
    """Acquire slots until none is left."""
    leases = []
    while True:
        try:
            leases.append(fleet.balancer.acquire("ocr", "d"))
        except AseError as error:
            assert error.spec is LOADER_FULL
            return leases


def test_queues_of_loaders_are_left_empty_while_applications_contend() -> None:
    fleet = Fleet(3, total=4, best=2)
    fleet.report(service_ms=50.0)
    assert len(fill(fleet)) == 12, "one application uses the queues too"
    done: list[PendingRequest] = []
    for app_id in ("greedy", "modest", "greedy"):
        fleet.balancer.wait("ocr", "d", "", app_id, 60.0, False, done.append)
    fleet.advance_to(fleet.loop.now + 0.1)
    assert done == []


def test_free_slots_are_found_while_applications_contend() -> None:
    fleet = Fleet(3, total=4, best=2)
    fleet.report(service_ms=50.0)
    leases = fill(fleet)
    done: list[PendingRequest] = []
    for app_id in ("greedy", "modest", "greedy"):
        fleet.balancer.wait("ocr", "d", "", app_id, 60.0, False, done.append)
    of_first = [lease for lease in leases if lease.instance is leases[0].instance]
    for lease in of_first[:2]:  # those in its queue begin
        lease.release()
        fleet.advance_to(fleet.loop.now + 0.1)
        assert done == []
    of_first[2].release()
    fleet.advance_to(fleet.loop.now + 0.1)
    assert [request.app_id for request in done] == ["greedy"]
    of_first[3].release()
    fleet.advance_to(fleet.loop.now + 0.1)
    assert [request.app_id for request in done] == ["greedy", "modest"]
    assert {request.outcome().instance for request in done} == {leases[0].instance}
    done[0].outcome().release()
    fleet.advance_to(fleet.loop.now + 0.1)
    assert len(done) == 3
    for lease in leases:
        lease.release()
    assert len(fill(fleet)) == 4, "six slots, of which two are taken"
    fleet.advance_to(fleet.loop.now + CONTENTION_S)
    assert len(fill(fleet)) == 6, "and the queues again, once they do not contend"


class VersionFleet(Fleet):
    """Two instances of v1 and two of v2, which gets the share of the rules."""

    def __init__(self, share: float, **options: Any) -> None:
        super().__init__(4, **options)
        self.instances = [
            replace(instance, version="v1" if number < 2 else "v2")
            for number, instance in enumerate(self.instances)
        ]
        self.report()
        self.table.set_traffic(TrafficRules("deployer", 1, {"v2": share}))

    def picks_of_v2(self, count: int, key: str = "") -> int:
        """Return how many of so many requests, one after another, went to v2."""
        picked = 0
        for _ in range(count):
            lease = self.balancer.acquire("ocr", "d", (), key)
            picked += lease.instance.version == "v2"
            lease.release()
        return picked


def test_version_gets_its_share_of_the_requests() -> None:
    assert VersionFleet(0.0).picks_of_v2(1000) == 0
    assert VersionFleet(1.0).picks_of_v2(1000) == 1000
    assert abs(VersionFleet(0.1).picks_of_v2(1000) - 100) <= 1


def test_version_gets_no_more_than_its_share_while_all_others_are_full() -> None:
    """Requests that wait ask again each 10 ms: that must not draw for them again."""
    fleet = VersionFleet(0.1, max_waiting=256)
    served = {"v1": 0, "v2": 0}

    def serve(lease: Lease) -> None:
        served[lease.instance.version] += 1
        fleet.loop.call_later(0.1, lease.release)

    def serve_pending(pending: PendingRequest[Lease]) -> None:
        with contextlib.suppress(AseError):  # it has waited in vain
            serve(pending.outcome())

    def arrive() -> None:
        try:
            serve(fleet.balancer.acquire("ocr", "d"))
        except AseError:
            fleet.balancer.wait("ocr", "d", "", "app", 1.0, False, serve_pending)
        if fleet.loop.now < 10:
            fleet.loop.call_later(1 / 1000, arrive)

    arrive()
    fleet.advance_to(11.5)
    assert 0.08 < served["v2"] / sum(served.values()) < 0.12


def test_request_whose_version_is_full_keeps_none_of_another_version_waiting() -> None:
    fleet = VersionFleet(0.5, total=1)
    keys = [str(number) for number in range(50)]
    old = [key for key in keys if key_fraction(key) >= 0.5]
    new = [key for key in keys if key_fraction(key) < 0.5]
    busy = [fleet.balancer.acquire("ocr", "d", (), key) for key in old[:2]]
    waiting = [
        fleet.balancer.wait("ocr", "d", key, app, 5.0, False, lambda _: None)
        for key, app in ((old[2], "one"), (old[3], "two"), (new[0], "two"), (new[1], "one"))
    ]
    fleet.advance_to(0.1)
    for pending in waiting[2:]:
        assert pending.outcome().instance.version == "v2"
    assert fleet.balancer.waiting_count() == 2
    busy[0].release()
    fleet.advance_to(0.2)
    assert waiting[0].outcome().instance.version == "v1"
    for lease in (busy[1], *(pending.outcome() for pending in (waiting[0], *waiting[2:]))):
        lease.release()
    fleet.advance_to(0.3)
    waiting[1].outcome().release()


def test_applications_share_the_free_version_behind_a_full_one() -> None:
    fleet = VersionFleet(0.5, total=1)
    keys = [str(number) for number in range(200)]
    old = [key for key in keys if key_fraction(key) >= 0.5]
    new = [key for key in keys if key_fraction(key) < 0.5]
    balancer = fleet.balancer
    busy = [balancer.acquire("ocr", "d", (), key) for key in (old[0], old[1], new[0], new[1])]
    served: list[str] = []

    def wait(key: str, app: str, *, at_front: bool = False) -> None:
        def serve(pending: PendingRequest[Lease]) -> None:
            lease = pending.outcome()
            served.append(f"{app}{' refused' if at_front else ''}")
            fleet.loop.call_later(0.1, lease.release)

        balancer.wait("ocr", "d", key, app, 60.0, at_front, serve)

    wait(old[2], "two")  # its version is full all the while
    for number in range(10):
        wait(new[2 + number], "one")
    for number in range(10):
        wait(new[20 + number], "two")
    wait(old[3], "three", at_front=True)
    wait(new[40], "three", at_front=True)
    for lease in busy[2:]:
        lease.release()
    fleet.advance_to(0.55)
    assert served[0] == "three refused"
    assert abs(served.count("one") - served.count("two")) <= 1
    assert served.count("one") >= 4


@pytest.mark.parametrize("state", [EjectionState.EJECTED, EjectionState.ADMITTED])
def test_version_that_cannot_serve_takes_no_turn_of_another_one(state: EjectionState) -> None:
    fleet = Fleet(3, total=1)
    versions = ("v1", "a", "b")
    fleet.instances = [
        replace(each, version=version)
        for each, version in zip(fleet.instances, versions, strict=True)
    ]
    fleet.report()
    fleet.table.set_traffic(TrafficRules("d", 1, {"a": 0.2, "b": 0.2}))
    if state is EjectionState.EJECTED:
        fleet.balancer.eject(fleet.endpoint(1), 1000.0)
    else:
        fleet.endpoint(1).remote_load = 4  # full
    picks = dict.fromkeys(versions, 0)
    for _ in range(500):
        lease = fleet.balancer.acquire("ocr", "d")
        picks[lease.instance.version] += 1
        lease.release()
    assert picks["a"] == 0
    assert abs(picks["b"] - 100) <= 2


def test_policies_of_versions_learn_apart() -> None:
    fleet = VersionFleet(0.5)
    fleet.picks_of_v2(10)
    assert [*fleet.balancer._policies] == ["ocr"]
    assert [*fleet.balancer._version_policies.entries] == [("ocr", "v2")]


def test_requests_of_a_key_stay_with_a_version() -> None:
    fleet = VersionFleet(0.2)
    picks = [fleet.picks_of_v2(5, f"user-{number}") for number in range(200)]
    assert set(picks) == {0, 5}
    assert 20 < picks.count(5) < 60


def test_full_version_leaves_its_share_to_the_others_but_not_the_other_way_round() -> None:
    fleet = VersionFleet(1.0, total=1)
    leases = [fleet.balancer.acquire("ocr", "d") for _ in range(4)]
    assert [lease.instance.version for lease in leases] == ["v2", "v2", "v1", "v1"]
    for lease in leases:
        lease.release()
    held = VersionFleet(0.0, total=1)
    kept = [held.balancer.acquire("ocr", "d") for _ in range(2)]
    with pytest.raises(AseError) as error_info:
        held.balancer.acquire("ocr", "d")
    assert error_info.value.spec is LOADER_FULL
    assert held.balancer.must_shed("ocr", "d", "", 0.0)
    held.table.set_traffic(TrafficRules("deployer", 2, {"v2": 0.5}))
    assert not held.balancer.must_shed("ocr", "d", "", 0.0)
    for lease in kept:
        lease.release()


def test_rules_that_are_gone_limit_nothing() -> None:
    fleet = VersionFleet(0.0)
    fleet.table.set_traffic(TrafficRules("deployer", 2, {}))
    assert 300 < fleet.picks_of_v2(1000) < 700
