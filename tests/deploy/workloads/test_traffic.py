"""Which revisions are limited, at each point of a rollout."""

from dataclasses import replace

from deploy.workloads.autoscale import AutoscaleRule
from deploy.workloads.phases import DeploymentPhase
from deploy.workloads.records import Deployment, DeploymentEntry, DeploymentStatus
from deploy.workloads.spec import DeploymentSpec
from deploy.workloads.traffic import traffic_shares

SPEC = DeploymentSpec("ocr", wrapper="w.py")
REVISION = SPEC.revision
WANTED = Deployment(SPEC, 2, (), False, "ann", 0.0, 0.0)


def shares(wanted: Deployment | None = WANTED, **status: object) -> dict[str, float]:
    fields = {
        "phase": DeploymentPhase.UPDATING,
        "generation": 2,
        "serving": "old",
        "revision": REVISION,
        **status,
    }
    return traffic_shares([DeploymentEntry(wanted, 1, DeploymentStatus(**fields), 1)])  # type: ignore[arg-type]


def test_revision_gets_nothing_before_its_canary_and_all_when_it_serves() -> None:
    assert shares(serving="") == {REVISION: 0.0}
    assert shares() == {REVISION: 0.0}
    assert shares(share=0.1) == {REVISION: 0.1}
    assert shares(serving=REVISION) == {}


def test_share_of_another_specification_does_not_count() -> None:
    assert shares(share=0.1, revision="other") == {REVISION: 0.0}


def test_revision_that_was_replaced_gets_nothing_more() -> None:
    assert shares(serving=REVISION, replaced="old") == {"old": 0.0}
    assert shares(serving="old", replaced="old") == {REVISION: 0.0}  # it was taken back


def test_activator_of_what_may_sleep_gets_nothing_while_a_revision_serves() -> None:
    sleepy = replace(WANTED, spec=replace(SPEC, autoscale=AutoscaleRule(0, 2)))
    assert shares(sleepy, serving=SPEC.revision, service="ocr") == {"activator:ocr": 0.0}
    assert shares(sleepy, serving="", service="") == {REVISION: 0.0}


def test_what_ends_is_not_limited() -> None:
    assert shares(None) == {}
    assert shares(replace(WANTED, is_deleting=True)) == {}
