"""Checks before requests: of who joins, and of who was ejected."""

from collections.abc import Callable
from random import Random

import pytest

from gateway.simulation.virtual_time import VirtualTimeLoop
from lb.balancer.balancer import Balancer
from lb.balancer.least_expected_delay import LeastExpectedDelay
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.lifecycle import EndpointEvent
from lb.endpoints.outlier import EjectionState
from lb.endpoints.report import Instance, Load, Report
from lb.endpoints.table import EndpointTable
from schemas.model.errors import LOADER_LOST, UNREACHABLE, AseError

OLD = Instance("ase", "ocr", "old:1", 7, total=100, best=100)
NEW = Instance("ase", "ocr", "new:1", 7, total=100, best=100)


class CheckedFleet:
    """A balancer whose checks the test answers."""

    def __init__(self) -> None:
        self.loop = VirtualTimeLoop()
        self.table = EndpointTable("g", silence_timeout=None)
        self.checks: list[tuple[str, Callable[[bool], None]]] = []
        rng = Random(1)
        self.balancer = Balancer(
            self.table,
            lambda: LeastExpectedDelay(rng),
            clock=self.loop.clock,
            rng=rng,
            call_later=self.loop.call_later,
            health_check=self._check,
        )

    def _check(self, endpoint: Endpoint, on_result: Callable[[bool], None]) -> None:
        self.checks.append((endpoint.instance.addr, on_result))

    def join(self, instance: Instance, *, served: int = 99) -> None:
        self.table.apply(Report(instance, Load(1, served=served)), self.loop.now)

    def answer_check(self, passed: bool) -> str:
        """Answer the oldest check; return whose it is."""
        addr, on_result = self.checks.pop(0)
        on_result(passed)
        return addr

    def state(self, instance: Instance) -> EjectionState:
        endpoint = self.table.get(instance.key)
        assert endpoint is not None
        return endpoint.outlier_detector.state

    def picked_addrs(self, count: int = 50) -> set[str]:
        leases = [self.balancer.acquire("ocr", "") for _ in range(count)]
        addrs = {lease.instance.addr for lease in leases}
        for lease in leases:
            lease.release_unused()
        return addrs

    def fail_requests(self, error: AseError, times: int = 5) -> None:
        for _ in range(times):
            with pytest.raises(AseError), self.balancer.acquire("ocr", ""):
                raise error

    def advance(self, seconds: float) -> None:
        fired: list[int] = []
        self.loop.call_later(seconds, lambda: fired.append(1))
        self.loop.run(lambda: not fired)


def test_who_joins_gets_requests_after_its_check_alone() -> None:
    fleet = CheckedFleet()
    fleet.join(OLD)
    assert fleet.answer_check(True) == "old:1"
    fleet.join(NEW, served=0)
    assert fleet.picked_addrs() == {"old:1"}
    assert fleet.answer_check(True) == "new:1"
    assert fleet.picked_addrs() == {"old:1", "new:1"}
    assert not fleet.checks, "one check is enough"


def test_dead_addresses_that_join_cost_no_request() -> None:
    fleet = CheckedFleet()
    fleet.join(OLD)
    fleet.answer_check(True)
    for number in range(20):
        fleet.join(Instance("ase", "ocr", f"dead:{number}", 7, total=100, best=100))
        fleet.answer_check(False)
        assert fleet.picked_addrs() == {"old:1"}


def test_an_unchecked_instance_is_used_if_there_is_no_other() -> None:
    fleet = CheckedFleet()
    fleet.join(NEW)
    assert fleet.picked_addrs() == {"new:1"}
    with fleet.balancer.acquire("ocr", ""):
        pass
    assert fleet.state(NEW) is EjectionState.ADMITTED, "its answer is better than a check"


def test_who_fails_is_checked_before_a_request_probes_it() -> None:
    fleet = CheckedFleet()
    fleet.join(OLD)
    fleet.answer_check(True)
    fleet.fail_requests(AseError(LOADER_LOST))
    fleet.join(NEW)
    fleet.answer_check(True)
    fleet.advance(1.3)
    assert fleet.state(OLD) is EjectionState.CHECKING
    assert fleet.picked_addrs() == {"new:1"}
    assert fleet.answer_check(True) == "old:1"
    assert fleet.state(OLD) is EjectionState.PROBING
    with fleet.balancer.acquire("ocr", "") as lease:
        assert lease.instance.addr == "old:1"
    assert fleet.state(OLD) is EjectionState.ADMITTED


def test_a_failed_check_ejects_again() -> None:
    fleet = CheckedFleet()
    fleet.join(OLD)
    fleet.answer_check(True)
    fleet.fail_requests(AseError(UNREACHABLE), 1)
    for seconds in (1.3, 2.5, 5.0):
        fleet.advance(seconds)
        assert fleet.answer_check(False) == "old:1"
        assert fleet.state(OLD) is EjectionState.EJECTED
        assert not fleet.checks, "the next one follows after a longer time"


def test_a_timer_that_fires_early_is_set_again() -> None:
    """As uvloop's do: it rounds to milliseconds."""
    fleet = CheckedFleet()
    fleet.join(OLD)
    fleet.answer_check(True)
    endpoint = fleet.table.get(OLD.key)
    assert endpoint is not None
    fleet.fail_requests(AseError(UNREACHABLE), 1)
    endpoint.outlier_detector.ejected_until += 0.0009
    fleet.advance(1.3)
    assert fleet.answer_check(True) == "old:1"
    assert fleet.state(OLD) is EjectionState.PROBING


def test_the_result_for_an_instance_that_is_gone_is_ignored() -> None:
    fleet = CheckedFleet()
    fleet.join(OLD)
    endpoint = fleet.table.get(OLD.key)
    assert endpoint is not None
    fleet.table.remove(OLD.key, 7, EndpointEvent.REPORTED_DOWN)
    fleet.answer_check(False)
    assert endpoint.outlier_detector.state is EjectionState.UNCHECKED
    fleet.advance(40.0)
    assert not fleet.checks
