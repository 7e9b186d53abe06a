"""The verdict on each instance, and the shares of the next picks."""

from random import Random

import pytest

from lb.balancer.balancer import Balancer
from lb.balancer.explanation import Candidate, explain_candidates, preview_picks
from lb.balancer.least_expected_delay import LeastExpectedDelay
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.outlier import EjectionCause, EjectionState
from lb.endpoints.report import Instance, Load, Report, ReportMode, ServingState
from lb.endpoints.table import EndpointTable
from lb.endpoints.traffic import TrafficRules


class Fleet:
    """Three instances a:0, a:1 and a:2 of the service ocr with the schema d, at the time 10."""

    def __init__(self) -> None:
        self.table = EndpointTable("g", silence_timeout=None)
        self.seq = 0
        for number in range(3):
            self.report(number)

    def report(
        self,
        number: int,
        state: ServingState = ServingState.UP,
        digest: str = "d",
        mode: ReportMode = ReportMode.ON_CHANGE,
        running: int = 0,
        version: str = "",
    ) -> None:
        addr = f"a:{number}"
        instance = Instance(
            "ase", "ocr", addr, 7, digest=digest, total=4, best=4, report_mode=mode,
            version=version,
        )  # fmt: skip
        self.seq += 1
        load = Load(self.seq, state, service_ms=10.0, served=99, running=running)
        self.table.apply(Report(instance, load), 10.0)

    def endpoint(self, number: int = 0) -> Endpoint:
        return next(e for e in self.table if e.instance.addr == f"a:{number}")

    def verdicts(self) -> dict[str, tuple[str, str]]:
        candidates = explain_candidates(self.table, "ocr", "d", 10.5)
        return {c.instance: (c.verdict, c.reason) for c in candidates}


def test_instances_that_serve_are_candidates() -> None:
    fleet = Fleet()
    fleet.endpoint(1).inflight = 6
    candidates = explain_candidates(fleet.table, "ocr", "d", 10.5)
    assert [c.instance for c in candidates if c.verdict == "candidate"] == ["a:0", "a:2"]
    first = candidates[0]
    assert (first.report_age_ms, first.own, first.others) == (500.0, 0, 0)
    assert (first.slots, first.limit) == (4, 4)
    assert first.expected_ms == pytest.approx(10.0, rel=0.01)
    assert "share" not in first.to_json()


def test_full_instance_names_its_requests() -> None:
    fleet = Fleet()
    fleet.report(0, running=4)
    assert fleet.verdicts()["a:0"] == ("full", "4 requests of 4")


def test_other_schema_and_draining_are_told_apart() -> None:
    fleet = Fleet()
    fleet.report(0, digest="0123456789abcdef")
    fleet.report(1, state=ServingState.DRAINING)
    verdicts = fleet.verdicts()
    assert verdicts["a:0"] == ("other schema", "its schema is 0123456789ab")
    assert verdicts["a:1"][0] == "draining"
    assert verdicts["a:2"] == ("candidate", "")


@pytest.mark.parametrize(
    ("state", "cause", "verdict"),
    [
        (EjectionState.EJECTED, EjectionCause.UNREACHABLE, "ejected"),
        (EjectionState.CHECKING, EjectionCause.EJECTION_ELAPSED, "ejected"),
        (EjectionState.UNCHECKED, EjectionCause.JOINED, "unchecked"),
        (EjectionState.PROBING, EjectionCause.CHECK_PASSED, "candidate"),
    ],
)
def test_ejection_is_given_with_its_cause_and_age(
    state: EjectionState, cause: EjectionCause, verdict: str
) -> None:
    fleet = Fleet()
    detector = fleet.endpoint().outlier_detector
    detector.state, detector.cause, detector.since = state, cause, 8.0
    fleet.table.invalidate_pool("ocr")
    assert fleet.verdicts()["a:0"] == (verdict, f"{cause.value}, for 2.5 s")


def test_ejected_instances_are_candidates_for_want_of_better_ones() -> None:
    fleet = Fleet()
    for endpoint in fleet.table:
        detector = endpoint.outlier_detector
        detector.state, detector.cause = EjectionState.EJECTED, EjectionCause.UNREACHABLE
    fleet.table.invalidate_pool("ocr")
    assert {verdict for verdict, _ in fleet.verdicts().values()} == {"candidate"}
    assert all("for want of a better one" in reason for _, reason in fleet.verdicts().values())


def test_instance_without_reports_has_no_age() -> None:
    fleet = Fleet()
    fleet.report(0, mode=ReportMode.NONE)
    (candidate,) = [
        c for c in explain_candidates(fleet.table, "ocr", "d", 11) if c.instance == "a:0"
    ]
    assert candidate.report_age_ms is None


def test_unknown_service_has_no_candidates() -> None:
    assert explain_candidates(Fleet().table, "nobody", "d", 1.0) == []


def preview(fleet: Fleet) -> dict[str, Candidate]:
    candidates = preview_picks(fleet.table, "ocr", "d", lambda: LeastExpectedDelay(Random(1)), 10.5)
    return {candidate.instance: candidate for candidate in candidates}


def test_shares_of_equal_instances_are_equal_and_the_busy_one_gets_less() -> None:
    fleet = Fleet()
    shares = {addr: candidate.share or 0.0 for addr, candidate in preview(fleet).items()}
    assert sum(shares.values()) == pytest.approx(1.0)
    assert min(shares.values()) > 0.2
    fleet.endpoint(1).inflight = 3
    fleet.endpoint(1).update_load_level()
    busy = preview(fleet)["a:1"]
    assert (busy.share or 0.0) < 0.05
    assert busy.to_json()["share"] == busy.share


def test_full_instances_get_no_share() -> None:
    fleet = Fleet()
    for number in range(3):
        fleet.report(number, running=4)
    assert {candidate.share for candidate in preview(fleet).values()} == {0.0}


def test_preview_takes_no_slot_and_no_turn() -> None:
    fleet = Fleet()
    rng = Random(1)
    balancer = Balancer(
        fleet.table, lambda: LeastExpectedDelay(rng), clock=lambda: 10.0, rng=rng,
        call_later=lambda *_: None,  # type: ignore[arg-type, return-value]
    )  # fmt: skip
    preview(fleet)
    assert balancer.counts.picks == 0
    assert all(endpoint.inflight == endpoint.picks == 0 for endpoint in fleet.table)


def test_large_fleet_is_shown_in_part_with_the_called_ones() -> None:
    fleet = Fleet()
    for number in range(3, 60):
        fleet.report(number)
    for number in range(20, 40):
        fleet.endpoint(number).outlier_detector.eject(10.0, 60.0)
    fleet.table.invalidate_pool("ocr")
    candidates = explain_candidates(fleet.table, "ocr", "d", 10.5, {"a:59", "a:21"}, 20)
    verdicts = [candidate.verdict for candidate in candidates]
    assert len(candidates) == 20
    assert {"a:59", "a:21"} <= {candidate.instance for candidate in candidates}
    assert verdicts.count("ejected") == 11
    assert len(explain_candidates(fleet.table, "ocr", "d", 10.5)) == 60


def test_operator_may_eject_most_instances() -> None:
    fleet = Fleet()
    for number in (0, 1):
        fleet.endpoint(number).outlier_detector.eject(10.0, 60.0)
    fleet.table.invalidate_pool("ocr")
    assert {addr: verdict for addr, (verdict, _) in fleet.verdicts().items()} == {
        "a:0": "ejected", "a:1": "ejected", "a:2": "candidate",
    }  # fmt: skip


def test_version_with_a_share_says_so() -> None:
    fleet = Fleet()
    for number, version in ((1, "v2"), (2, "v3")):
        fleet.report(number, version=version)
    fleet.table.set_traffic(TrafficRules("deployer", 1, {"v2": 0.25, "v3": 0.0}))
    assert fleet.verdicts() == {
        "a:0": ("candidate", ""),
        "a:1": ("candidate", "version v2 gets 25% of the requests"),
        "a:2": ("held back", "version v3 gets 0% of the requests"),
    }
    candidates = preview_picks(fleet.table, "ocr", "d", lambda: LeastExpectedDelay(Random(1)), 10.5)
    assert [(c.instance, c.share) for c in candidates] == [
        ("a:0", 0.75), ("a:1", 0.25), ("a:2", 0.0),
    ]  # fmt: skip
