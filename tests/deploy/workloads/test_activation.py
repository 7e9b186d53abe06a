"""Which deployments may sleep, and what is remembered of them."""

from dataclasses import replace

import pytest

from deploy.workloads.activation import ActivationRecord, activator_version, may_sleep
from deploy.workloads.autoscale import AutoscaleRule
from deploy.workloads.records import Deployment, DeploymentEntry, DeploymentStatus
from deploy.workloads.spec import DeploymentSpec
from lb.endpoints.report import VERSION

SPEC = DeploymentSpec("ocr", wrapper="w.py", autoscale=AutoscaleRule(0, 2))
WANTED = Deployment(SPEC, 1, (), False, "ann", 1.0, 1.0)
SERVED = DeploymentStatus(service="ocr")


@pytest.mark.parametrize(
    ("wanted", "status", "sleeps"),
    [
        (WANTED, SERVED, True),
        (WANTED, DeploymentStatus(), False),  # its service is not known yet
        (replace(WANTED, is_deleting=True), SERVED, False),
        (replace(WANTED, spec=replace(SPEC, autoscale=AutoscaleRule(1, 2))), SERVED, False),
        (replace(WANTED, spec=replace(SPEC, autoscale=None)), SERVED, False),
        (None, SERVED, False),
    ],
)
def test_what_may_sleep(wanted: Deployment | None, status: DeploymentStatus, sleeps: bool) -> None:
    assert may_sleep(DeploymentEntry(wanted, 1, status, 1)) is sleeps


def test_record_is_read_as_it_was_written() -> None:
    record = ActivationRecord("ocr", "ase", "a" * 64)
    assert ActivationRecord.from_bytes(record.to_bytes()) == record


def test_version_of_an_activator_is_one_that_loaders_may_report() -> None:
    version = activator_version("a" * 63)
    assert VERSION.fullmatch(version)
    assert version != SPEC.revision
