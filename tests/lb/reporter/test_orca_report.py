"""A meter's figures as ORCA has them."""

import pytest

from lb.reporter.limiter import ConcurrencyLimiter
from lb.reporter.orca_report import OrcaReportBuilder, load_from_orca
from schemas.wire import OrcaLoadReport


def test_utilisation_and_licences() -> None:
    meter = ConcurrencyLimiter(8, lambda: None, best=4)
    for _ in range(6):
        meter.try_acquire("g")
    told = OrcaReportBuilder(meter).build_report(1.0)
    assert told.application_utilization == 1.5
    named = told.named_metrics
    assert (named["ase.total"], named["ase.best"], named["ase.idle"]) == (8, 4, -2)
    assert (named["ase.running"], named["ase.queued"]) == (4, 2)
    assert told.rps_fractional == 0.0, "nothing is known yet"


def test_rates_are_of_the_time_between_two_looks() -> None:
    meter = ConcurrencyLimiter(8, lambda: None)
    orca = OrcaReportBuilder(meter)
    orca.build_report(10.0)
    for number in range(30):
        meter.try_acquire("g")
        meter.release("g", 5.0, succeeded=number % 3 > 0, failed=not number % 3)
    told = orca.build_report(12.0)
    assert (told.rps_fractional, told.eps) == (15.0, 5.0)
    assert orca.build_report(12.1).rps_fractional == 15.0, "too soon to say anew"
    assert orca.build_report(13.0).rps_fractional == 0.0
    assert told.named_metrics["ase.service_ms"] == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("report", "running", "queued"),
    [
        (OrcaLoadReport(application_utilization=0.5), 4, 0),
        (OrcaLoadReport(application_utilization=1.5), 8, 4),
        (OrcaLoadReport(cpu_utilization=0.25), 2, 0),
        (OrcaLoadReport(application_utilization=0.5, cpu_utilization=0.9), 4, 0),
        (OrcaLoadReport(), 0, 0),
        (OrcaLoadReport(application_utilization=float("nan")), 0, 0),
        (OrcaLoadReport(application_utilization=-1.0), 0, 0),
        (OrcaLoadReport(application_utilization=1e300), 0, 0),
        (
            OrcaLoadReport(cpu_utilization=0.9, named_metrics={"ase.running": 3, "ase.queued": 2}),
            3,
            2,
        ),
    ],
    ids=range(9),
)
def test_others_reports_are_read(report: OrcaLoadReport, running: int, queued: int) -> None:
    told = load_from_orca(report, 8, 1)
    assert (told.running, told.queued, told.requests_by_gateway) == (running, queued, None)


def test_ours_read_back() -> None:
    meter = ConcurrencyLimiter(8, lambda: None, best=4)
    for _ in range(6):
        meter.try_acquire("g")
    told = load_from_orca(OrcaReportBuilder(meter).build_report(1.0), 8, 1)
    assert (told.running, told.queued) == (4, 2)
