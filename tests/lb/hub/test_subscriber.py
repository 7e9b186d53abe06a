"""Frames: a snapshot, then changes; the latest wins; facts once, each gateway its own count."""

from dataclasses import replace

from lb.endpoints.lifecycle import EndpointEvent
from lb.endpoints.report import Instance, Load, Report
from lb.endpoints.table import EndpointTable
from lb.endpoints.traffic import TrafficRules
from lb.hub.subscriber import EncodedLoadCache, Subscriber
from schemas.wire import Frame

DOCUMENTS = {"d" * 64: b"{}"}
INSTANCE = Instance("ase", "ocr", "a:1", 7, digest="d" * 64, total=4)
OTHER_INSTANCE = Instance("ase", "asr", "b:1", 8, total=2)


class HubFixture:
    """A hub's table with two instances, and one who follows."""

    def __init__(self, *services: str) -> None:
        self.table = EndpointTable()
        self.load_cache = EncodedLoadCache()
        self.table.apply(
            Report(INSTANCE, Load(1, running=3, requests_by_gateway={"g": 2, "other": 1})), 0.0
        )
        self.table.apply(Report(OTHER_INSTANCE, Load(1)), 0.0)
        self.subscriber = Subscriber("g", services, self.table)

    def next_frame(self, now: float = 0.0, subscriber: Subscriber | None = None) -> Frame:
        subscriber = subscriber or self.subscriber
        data = subscriber.next_frame(self.table, self.load_cache, DOCUMENTS, 9, now)
        return Frame.FromString(data)

    def remove_one(self) -> None:
        for change in self.table.remove(INSTANCE.key, 7, EndpointEvent.REPORTED_DOWN):
            self.subscriber.mark_removed(change, self.load_cache.remove(INSTANCE.key))


def test_snapshot_is_followed_by_changes() -> None:
    hub = HubFixture()
    assert hub.subscriber.has_updates()
    first = hub.next_frame(2.0)
    assert (first.snapshot, first.hub_epoch) == (True, 9)
    assert first.version == 1
    assert {hub.addr for hub in first.instances} == {"a:1", "b:1"}
    assert [hub.digest for hub in first.schemas] == ["d" * 64]
    assert {hub.age_ms for hub in first.loads} == {2000}
    assert not hub.subscriber.has_updates()
    empty = hub.next_frame(2.0)
    assert (empty.version, empty.snapshot, len(empty.loads)) == (2, False, 0)
    for seq in (2, 3, 4):
        report = Report(INSTANCE, Load(seq, running=seq, requests_by_gateway={"g": 1, "other": 3}))
        hub.table.apply(report, 3.0)
        hub.load_cache.invalidate(INSTANCE.key)
        hub.subscriber.mark_changed([INSTANCE])
    assert hub.subscriber.has_updates()
    frame = hub.next_frame(3.0)
    (load,) = frame.loads
    assert (load.seq, load.running, load.held) == (4, 4, 1), "the latest, once, our count alone"
    assert not frame.instances
    assert not frame.schemas


def test_loads_are_encoded_once_with_a_count_per_gateway() -> None:
    hub = HubFixture()
    other = Subscriber(
        "other", (), [endpoint for endpoint in hub.table if endpoint.instance is OTHER_INSTANCE]
    )
    hub.next_frame(1.0, other)
    other.mark_changed([INSTANCE])
    (own_load,) = [load for load in hub.next_frame(1.0).loads if load.running]
    (other_load,) = hub.next_frame(4.0, other).loads
    assert (own_load.held, own_load.age_ms) == (2, 1000)
    assert (other_load.held, other_load.age_ms) == (1, 4000)
    assert (other_load.id, other_load.seq) == (own_load.id, own_load.seq)
    endpoint = hub.table.get(INSTANCE.key)
    assert endpoint is not None
    assert hub.load_cache.get(endpoint, 4.004) is hub.load_cache.get(endpoint, 4.0)
    hub.table.apply(Report(INSTANCE, Load(2)), 5.0)
    for subscriber in (hub.subscriber, other):
        hub.load_cache.invalidate(INSTANCE.key)
        subscriber.mark_changed([INSTANCE])
        assert not hub.next_frame(5.0, subscriber).loads[0].HasField("held"), "it does not tell"


def test_returning_instance_gets_a_new_id() -> None:
    hub = HubFixture()
    before = {instance.addr: instance.id for instance in hub.next_frame().instances}
    hub.remove_one()
    hub.table.apply(Report(replace(INSTANCE, epoch=8), Load(1)), 0.0)
    hub.subscriber.mark_changed([INSTANCE])
    frame = hub.next_frame()
    (instance,) = frame.instances
    assert [removed.id for removed in frame.gone] == [before["a:1"]]
    assert instance.id not in before.values()
    assert [load.id for load in frame.loads] == [instance.id]


def test_changed_instance_is_sent_again() -> None:
    hub = HubFixture()
    hub.next_frame()
    hub.table.apply(Report(replace(INSTANCE, total=9), Load(2)), 0.0)
    hub.subscriber.mark_changed([INSTANCE])
    assert [instance.total for instance in hub.next_frame().instances] == [9]
    hub.table.apply(Report(replace(INSTANCE, total=9), Load(3)), 0.0)
    hub.subscriber.mark_changed([INSTANCE])
    assert not hub.next_frame().instances


def test_removal_is_sent_once() -> None:
    hub = HubFixture()
    hub.next_frame()
    hub.remove_one()
    assert hub.subscriber.has_updates()
    assert [removed.reason for removed in hub.next_frame().gone] == ["left"]
    assert not hub.next_frame().gone


def test_instance_added_and_removed_between_frames_is_not_sent() -> None:
    hub = HubFixture()
    hub.remove_one()
    frame = hub.next_frame()
    assert [hub.addr for hub in frame.instances] == ["b:1"]
    assert not frame.gone


def test_only_subscribed_services_are_sent() -> None:
    hub = HubFixture("asr")
    assert [hub.subsvc for hub in hub.next_frame().instances] == ["asr"]
    hub.subscriber.mark_changed([INSTANCE])
    assert not hub.subscriber.has_updates()


def test_static_instances_are_not_sent() -> None:
    table = EndpointTable()
    static = Instance("ase", "ocr", "s:1")
    table.add_static(static, 0.0)
    subscriber = Subscriber("g", (), table)
    (endpoint,) = table
    subscriber.mark_changed([endpoint.instance])
    assert not Frame.FromString(
        subscriber.next_frame(table, EncodedLoadCache(), {}, 9, 1e9)
    ).instances


def test_age_is_capped() -> None:
    assert {load.age_ms for load in HubFixture().next_frame(1e9).loads} == {2**32 - 1}


def test_traffic_rules_are_sent_when_they_change() -> None:
    hub = HubFixture()
    hub.table.set_traffic(TrafficRules("one", 1, {"v1": 0.0}))
    hub.table.set_traffic(TrafficRules("two", 1, {"v2": 0.5}))
    assert {rules.owner for rules in hub.next_frame().traffic} == {"one", "two"}
    hub.table.set_traffic(TrafficRules("two", 2, {}))
    assert not hub.subscriber.has_updates()
    hub.subscriber.mark_traffic_changed()
    assert hub.subscriber.has_updates()
    changed = hub.next_frame().traffic
    assert [(rules.owner, rules.revision, len(rules.shares)) for rules in changed] == [
        ("two", 2, 0)
    ]
    assert not hub.next_frame().traffic
