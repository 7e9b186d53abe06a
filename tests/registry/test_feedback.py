from dataclasses import replace

from registry import commands
from registry.feedback import Consumer, Outcome, is_complete, rollout_status
from registry.generation import Subscription
from registry.names import VersionPattern
from registry.records import GrayRule
from tests.registry.documents import NAME, Records, ref

KEY = str(NAME)


def consumer(
    instance: str, running: int, wanted: int, outcome: Outcome, reason: str = ""
) -> Consumer:
    subscription = Subscription(
        instance, f"{instance}:1", {"zone": instance}, (VersionPattern.parse(KEY),)
    )
    return Consumer(subscription, {KEY: running}, {KEY: wanted}, outcome, reason, 7.0)


def records_of_two_releases(rule: GrayRule | None = None) -> Records:
    records = Records()
    records.run(commands.put_file, NAME, "a", ref(b"1"))
    records.run(commands.publish, NAME, "")
    records.run(commands.put_file, NAME, "a", ref(b"2"))
    records.run(commands.publish, NAME, "", rule)
    return records


def test_the_status_says_who_runs_what_and_why_not() -> None:
    records = records_of_two_releases()
    consumers = [
        consumer("d", 1, 2, Outcome.FAILED, "disk full"),
        consumer("a", 2, 2, Outcome.APPLIED),
        consumer("b", 1, 2, Outcome.WAITING),
        consumer("c", 1, 2, Outcome.REFUSED, "ase.yaml:1:1: unknown key"),
        # It has answered the one before; the new one is on its way.
        consumer("e", 1, 1, Outcome.APPLIED),
    ]
    statuses = rollout_status(records.state, NAME, consumers)
    assert [(s.instance, s.running, s.outcome.value, s.reason) for s in statuses] == [
        ("a", 2, "applied", ""),
        ("b", 1, "waiting", ""),
        ("c", 1, "refused", "ase.yaml:1:1: unknown key"),
        ("d", 1, "failed", "disk full"),
        ("e", 1, "waiting", ""),
    ]
    assert {s.wanted for s in statuses} == {2}
    assert not is_complete(statuses)
    assert is_complete(statuses[2:4])
    assert is_complete([])


def test_a_refusal_of_another_version_does_not_count_here() -> None:
    records = records_of_two_releases()
    refused = consumer("a", 2, 2, Outcome.REFUSED, "another file is wrong")
    assert rollout_status(records.state, NAME, [refused])[0].outcome is Outcome.APPLIED


def test_gray_instances_want_the_gray_release() -> None:
    records = records_of_two_releases(GrayRule({"zone": "b"}))
    consumers = [consumer("a", 1, 1, Outcome.APPLIED), consumer("b", 2, 2, Outcome.APPLIED)]
    statuses = rollout_status(records.state, NAME, consumers)
    assert [(s.wanted, s.is_gray, s.outcome) for s in statuses] == [
        (1, False, Outcome.APPLIED),
        (2, True, Outcome.APPLIED),
    ]
    assert statuses[0].to_json()["labels"] == {"zone": "a"}


def test_those_that_follow_other_versions_are_left_out() -> None:
    records = records_of_two_releases()
    other = consumer("a", 1, 1, Outcome.APPLIED)
    patterns = (VersionPattern.parse("shop/web/other/1.0.0"),)
    other = replace(other, subscription=replace(other.subscription, patterns=patterns))
    assert rollout_status(records.state, NAME, [other]) == []


def test_a_consumer_is_the_same_from_its_bytes() -> None:
    original = consumer("a", 1, 2, Outcome.REFUSED, "why")
    patterns = (VersionPattern.parse(KEY), VersionPattern.parse("*/*/*/*", schemas_only=True))
    subscription = replace(original.subscription, patterns=patterns)
    original = replace(original, subscription=subscription)
    assert Consumer.from_bytes(original.to_bytes()) == original
