"""A meter's figures as ORCA has them."""

import pytest

from lb.meter import Meter
from lb.orca import OrcaMeter


def test_utilisation_and_licences() -> None:
    meter = Meter(8, lambda: None, best=4)
    for _ in range(6):
        meter.take("g")
    told = OrcaMeter(meter).report(1.0)
    assert told.application_utilization == 1.5
    named = told.named_metrics
    assert (named["ase.total"], named["ase.best"], named["ase.idle"]) == (8, 4, -2)
    assert (named["ase.running"], named["ase.queued"]) == (4, 2)
    assert told.rps_fractional == 0.0, "nothing is known yet"


def test_rates_are_of_the_time_between_two_looks() -> None:
    meter = Meter(8, lambda: None)
    orca = OrcaMeter(meter)
    orca.report(10.0)
    for number in range(30):
        meter.take("g")
        meter.free("g", 5.0, good=number % 3 > 0)
    told = orca.report(12.0)
    assert (told.rps_fractional, told.eps) == (15.0, 5.0)
    assert orca.report(12.1).rps_fractional == 15.0, "too soon to say anew"
    assert orca.report(13.0).rps_fractional == 0.0
    assert told.named_metrics["ase.service_ms"] == pytest.approx(5.0)
