"""A meter's figures as ORCA has them."""

import pytest

from lb.reporter.limiter import ConcurrencyLimiter
from lb.reporter.orca_report import OrcaReportBuilder, load_from_orca
from schemas.wire import OrcaLoadReport


def test_utilization_and_slots() -> None:
    limiter = ConcurrencyLimiter(8, lambda: None, best=4)
    for _ in range(6):
        limiter.try_acquire("g")
    report = OrcaReportBuilder(limiter).build_report(1.0)
    assert report.application_utilization == 1.5
    metrics = report.named_metrics
    assert (metrics["ase.total"], metrics["ase.best"], metrics["ase.idle"]) == (8, 4, -2)
    assert (metrics["ase.running"], metrics["ase.queued"]) == (4, 2)
    assert report.rps_fractional == 0.0, "nothing is known yet"


def test_rates_cover_the_time_between_two_reports() -> None:
    limiter = ConcurrencyLimiter(8, lambda: None)
    builder = OrcaReportBuilder(limiter)
    builder.build_report(10.0)
    for index in range(30):
        limiter.try_acquire("g")
        limiter.release("g", 5.0, succeeded=index % 3 > 0, failed=not index % 3)
    report = builder.build_report(12.0)
    assert (report.rps_fractional, report.eps) == (15.0, 5.0)
    assert builder.build_report(12.1).rps_fractional == 15.0, "too soon to say anew"
    assert builder.build_report(13.0).rps_fractional == 0.0
    assert report.named_metrics["ase.service_ms"] == pytest.approx(5.0)


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
def test_foreign_orca_reports_are_decoded(
    report: OrcaLoadReport, running: int, queued: int
) -> None:
    load = load_from_orca(report, 8, 1)
    assert (load.running, load.queued, load.requests_by_gateway) == (running, queued, None)


def test_own_report_round_trips() -> None:
    limiter = ConcurrencyLimiter(8, lambda: None, best=4)
    for _ in range(6):
        limiter.try_acquire("g")
    load = load_from_orca(OrcaReportBuilder(limiter).build_report(1.0), 8, 1)
    assert (load.running, load.queued) == (4, 2)
