"""Autoscaling: rules as they are read, and what a load leads to, second by second."""

import pytest

from deploy.workloads.autoscale import AutoscaleRule, ReplicaLoad, Scaling, read_autoscale
from deploy.workloads.members import InvalidMemberError

RULE = AutoscaleRule(1, 8, target=0.5, tolerance=0.1, window_s=5.0, delay_s=30.0)


class Fleet:
    """Replicas with ten slots each, which follow what is decided after `start_s` seconds."""

    def __init__(self, rule: AutoscaleRule = RULE, replicas: int = 1, start_s: int = 0) -> None:
        self.rule = rule
        self.wanted = replicas
        self.scaling = Scaling()
        self.now = 0.0
        self._start_s = start_s
        self._history = [replicas]

    def run(self, seconds: int, requests: int) -> list[int]:
        """Return the wanted replicas of each second."""
        history = []
        for _ in range(seconds):
            self._history.append(self.wanted)
            ready = self._history[max(len(self._history) - 1 - self._start_s, 0)]
            load = ReplicaLoad(ready, requests, 10 * ready)
            self.wanted = self.scaling.decide(self.rule, self.wanted, load, self.now)
            self.now += 1.0
            history.append(self.wanted)
        return history


def test_replicas_follow_the_load_up_at_once_and_down_after_the_delay() -> None:
    fleet = Fleet()
    assert set(fleet.run(40, 5)) == {1}
    up = fleet.run(20, 20)
    assert up[-1] == 4
    assert up.index(4) <= 6  # the window has to fill
    down = fleet.run(60, 5)
    assert down[25] == 4
    assert down[-1] == 1


def test_nothing_changes_near_the_target() -> None:
    fleet = Fleet(replicas=4)
    assert set(fleet.run(100, 21)) == {4}
    assert set(fleet.run(100, 19)) == {4}
    assert fleet.run(20, 23)[-1] == 5


def test_nothing_is_decided_before_the_window_is_full() -> None:
    assert set(Fleet().run(5, 80)) == {1}
    assert Fleet().run(6, 80)[-1] > 1


def test_short_peak_is_averaged() -> None:
    fleet = Fleet()
    fleet.run(40, 5)
    assert set(fleet.run(1, 15) + fleet.run(10, 3)) <= {1, 2}


def test_replicas_that_start_are_waited_for() -> None:
    fleet = Fleet(start_s=20)
    fleet.run(40, 5)
    history = fleet.run(60, 20)
    assert max(history) == history[-1] == 4  # what is under way is not asked for again


def test_growth_and_bounds_are_limited() -> None:
    fleet = Fleet(AutoscaleRule(2, 100, target=0.1, window_s=1.0, delay_s=0.0))
    assert fleet.run(1, 10)[-1] == 2
    history = fleet.run(20, 1000)
    assert (history[0] <= 6, history[1] <= 12) == (True, True)
    assert history[-1] == 100
    assert fleet.run(20, 0)[-1] == 2


def test_one_look_after_a_gap_decides_nothing() -> None:
    fleet = Fleet(replicas=4)
    assert set(fleet.run(60, 20)) == {4}
    fleet.now += 200.0  # another deployer led, or the store was away
    assert set(fleet.run(20, 0)) == {4}


def test_last_replica_goes_when_there_was_no_request_for_the_delay() -> None:
    rule = AutoscaleRule(0, 4, target=0.5, window_s=5.0, delay_s=30.0)
    fleet = Fleet(rule)
    assert set(fleet.run(40, 0)[:30]) == {1}
    assert fleet.wanted == 0
    # What wakes it is not the load: loaders that drain still report some.
    assert set(fleet.run(10, 3)) == {0}
    short = Scaling()
    wishes = [short.decide(rule, 1, ReplicaLoad(1, 0, 10, served), served) for served in range(99)]
    assert set(wishes) == {1}  # requests that end between two reports


def test_without_reports_nothing_changes_but_what_is_out_of_bounds() -> None:
    scaling = Scaling()
    assert scaling.decide(RULE, 5, ReplicaLoad(), 0.0) == 5
    assert scaling.decide(RULE, 50, ReplicaLoad(), 1.0) == 8
    assert scaling.usage() == 0.0


def test_loss_of_reports_begins_anew() -> None:
    fleet = Fleet(replicas=4)
    fleet.run(60, 20)
    fleet.scaling.decide(RULE, 4, ReplicaLoad(), fleet.now)
    assert set(fleet.run(29, 0)) == {4}


@pytest.mark.parametrize("tree", [{"maxReplicas": 4}, {"maxReplicas": 4, "target": 1.5}])
def test_rule_is_read_and_written(tree: dict[str, float]) -> None:
    rule = read_autoscale(tree)
    assert read_autoscale(rule.to_json()) == rule
    assert (rule.least, rule.most, rule.target) == (1, 4, tree.get("target", 0.7))


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (4, ": must be an object, as {maxReplicas: 4}"),
        ({}, "maxReplicas: is missing"),
        ({"maxReplicas": 2.5}, "maxReplicas: must be a whole number, 1 to 1000"),
        ({"maxReplicas": 1, "minReplicas": 2}, "minReplicas: must be no more than maxReplicas"),
        ({"maxReplicas": 4, "target": 0}, "target: must be a number, 0.05 to 10"),
        ({"maxReplicas": 4, "cooldown": 1}, "cooldown: unknown member"),
    ],
)
def test_invalid_rule_is_named(tree: object, message: str) -> None:
    with pytest.raises(InvalidMemberError) as error_info:
        read_autoscale(tree)
    assert message in str(error_info.value)
