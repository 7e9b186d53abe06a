"""What people change: from the records to a transaction."""

from dataclasses import replace

import pytest

from deploy.engine import commands
from deploy.engine.commands import DeploymentConflictError, DeploymentNotFoundError
from deploy.workloads.autoscale import AutoscaleRule
from deploy.workloads.canary import Canary
from deploy.workloads.records import WANTED, Deployment, DeploymentEntry, DeploymentStatus
from deploy.workloads.spec import DeploymentSpec
from registry.store.interfaces import Transaction

SPEC = DeploymentSpec("a", wrapper="w.py:W", replicas=2)


def entry(*previous: DeploymentSpec, is_deleting: bool = False) -> DeploymentEntry:
    return DeploymentEntry(Deployment(SPEC, 4, previous, is_deleting, "ann", 1.0, 2.0), 7)


def wanted(transaction: Transaction | None) -> Deployment:
    assert transaction is not None
    return Deployment.from_bytes(transaction.puts[WANTED + "a"])


def test_a_deployment_is_created_if_there_is_none() -> None:
    status = DeploymentStatus(generation=3)
    transaction = commands.create(DeploymentEntry(status=status), SPEC, "ann", 5.0)
    assert transaction.expected == {WANTED + "a": 0}
    assert wanted(transaction) == Deployment(SPEC, 4, (), False, "ann", 5.0, 5.0)
    with pytest.raises(DeploymentConflictError, match="a: is there already"):
        commands.create(entry(), SPEC, "ann", 5.0)
    with pytest.raises(DeploymentConflictError, match="a: is being deleted"):
        commands.create(entry(is_deleting=True), SPEC, "ann", 5.0)


def test_a_revision_that_is_new_has_a_replica_even_if_it_may_sleep() -> None:
    rule = AutoscaleRule(0, 3)
    sleepy = replace(SPEC, replicas=0, autoscale=rule)
    created = wanted(commands.create(DeploymentEntry(), sleepy, "ann", 5.0))
    assert created.spec.replicas == 1
    asleep = DeploymentEntry(Deployment(sleepy, 4, (SPEC,), False, "ann", 1.0, 2.0), 7)
    assert commands.update(asleep, replace(sleepy, replicas=2), "ann", 5.0) is None
    other = replace(sleepy, wrapper="v.py:V")
    assert wanted(commands.update(asleep, other, "ann", 5.0)).spec.replicas == 1
    before = DeploymentEntry(Deployment(sleepy, 4, (other,), False, "ann", 1.0, 2.0), 7)
    assert wanted(commands.roll_back(before, "a", "ann", 5.0)).spec.replicas == 1


def test_what_has_served_stands_no_trial_again() -> None:
    tried = replace(SPEC, wrapper="v.py:V", canary=Canary(0.1))
    rolled_back = wanted(commands.roll_back(entry(tried), "a", "ann", 5.0))
    assert (rolled_back.spec.wrapper, rolled_back.spec.canary) == ("v.py:V", None)


def test_an_update_expects_what_was_read() -> None:
    spec = replace(SPEC, wrapper="v.py:V")
    transaction = commands.update(entry(), spec, "bob", 5.0)
    assert transaction is not None
    assert transaction.expected == {WANTED + "a": 7}
    assert wanted(transaction).generation == 5
    assert wanted(transaction).previous == (SPEC,)
    assert commands.update(entry(), SPEC, "bob", 5.0) is None


def test_a_deployment_stays_with_its_shimlet() -> None:
    with pytest.raises(DeploymentConflictError, match="which cannot be changed"):
        commands.update(entry(), replace(SPEC, shimlet="docker"), "bob", 5.0)


def test_scaling_changes_the_replicas_alone() -> None:
    assert wanted(commands.scale(entry(), "a", 5, "bob", 5.0)).spec == replace(SPEC, replicas=5)
    assert commands.scale(entry(), "a", 2, "bob", 5.0) is None
    for replicas in (-1, 1001):
        with pytest.raises(DeploymentConflictError, match="must be 0 to 1000"):
            commands.scale(entry(), "a", replicas, "bob", 5.0)


def test_a_rollback_takes_the_last_other_revision_with_the_replicas_of_now() -> None:
    older = DeploymentSpec("a", wrapper="u.py:U", replicas=9)
    before = DeploymentSpec("a", wrapper="v.py:V", replicas=9)
    scaled = replace(SPEC, replicas=1)
    spec = wanted(commands.roll_back(entry(older, before, scaled), "a", "bob", 5.0)).spec
    assert spec == replace(before, replicas=2)
    with pytest.raises(DeploymentConflictError, match="no other revision before"):
        commands.roll_back(entry(scaled), "a", "bob", 5.0)


def test_a_deletion_is_begun_once() -> None:
    assert wanted(commands.delete(entry(), "a", "bob", 5.0)).is_deleting
    assert commands.delete(entry(is_deleting=True), "a", "bob", 5.0) is None


def test_what_is_not_there_or_ends_is_not_changed() -> None:
    for change in (
        lambda e: commands.update(e, SPEC, "bob", 5.0),
        lambda e: commands.scale(e, "a", 5, "bob", 5.0),
        lambda e: commands.roll_back(e, "a", "bob", 5.0),
    ):
        with pytest.raises(DeploymentNotFoundError, match="there is no deployment 'a'"):
            change(DeploymentEntry())
        with pytest.raises(DeploymentConflictError, match="is being deleted"):
            change(entry(is_deleting=True))
    with pytest.raises(DeploymentNotFoundError):
        commands.delete(DeploymentEntry(), "a", "bob", 5.0)
