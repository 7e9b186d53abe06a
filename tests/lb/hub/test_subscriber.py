"""Frames: a snapshot, then changes; the latest wins; facts once, each gateway its own count."""

from dataclasses import replace

from lb.endpoints.lifecycle import EndpointEvent
from lb.endpoints.report import Instance, Load, Report
from lb.endpoints.table import EndpointTable
from lb.hub.subscriber import EncodedLoadCache, Subscriber
from schemas.wire import Frame

DOCUMENTS = {"d" * 64: b"{}"}
ONE = Instance("ase", "ocr", "a:1", 7, digest="d" * 64, total=4)
TWO = Instance("ase", "asr", "b:1", 8, total=2)


class Told:
    """A hub's table with two instances, and one who follows."""

    def __init__(self, *services: str) -> None:
        self.table = EndpointTable()
        self.figures = EncodedLoadCache()
        self.table.apply(
            Report(ONE, Load(1, running=3, requests_by_gateway={"g": 2, "other": 1})), 0.0
        )
        self.table.apply(Report(TWO, Load(1)), 0.0)
        self.follower = Subscriber("g", services, self.table)

    def take(self, now: float = 0.0, follower: Subscriber | None = None) -> Frame:
        follower = follower or self.follower
        taken = follower.next_frame(self.table, self.figures, DOCUMENTS, 9, now)
        return Frame.FromString(taken)

    def leave(self) -> None:
        for change in self.table.remove(ONE.key, 7, EndpointEvent.REPORTED_DOWN):
            self.follower.mark_removed(change, self.figures.remove(ONE.key))


def test_first_a_snapshot_then_changes() -> None:
    told = Told()
    assert told.follower.has_updates()
    first = told.take(2.0)
    assert (first.snapshot, first.hub_epoch) == (True, 9)
    assert first.version == 1
    assert {told.addr for told in first.instances} == {"a:1", "b:1"}
    assert [told.digest for told in first.schemas] == ["d" * 64]
    assert {told.age_ms for told in first.loads} == {2000}
    assert not told.follower.has_updates()
    empty = told.take(2.0)
    assert (empty.version, empty.snapshot, len(empty.loads)) == (2, False, 0)
    for seq in (2, 3, 4):
        report = Report(ONE, Load(seq, running=seq, requests_by_gateway={"g": 1, "other": 3}))
        told.table.apply(report, 3.0)
        told.figures.invalidate(ONE.key)
        told.follower.mark_changed([ONE])
    assert told.follower.has_updates()
    frame = told.take(3.0)
    (load,) = frame.loads
    assert (load.seq, load.running, load.held) == (4, 4, 1), "the latest, once, our count alone"
    assert not frame.instances
    assert not frame.schemas


def test_figures_are_made_once_and_each_gateway_gets_its_own_count() -> None:
    told = Told()
    other = Subscriber("other", (), [entry for entry in told.table if entry.instance is TWO])
    told.take(1.0, other)
    other.mark_changed([ONE])
    (mine,) = [load for load in told.take(1.0).loads if load.running]
    (theirs,) = told.take(4.0, other).loads
    assert (mine.held, mine.age_ms) == (2, 1000)
    assert (theirs.held, theirs.age_ms) == (1, 4000)
    assert (theirs.id, theirs.seq) == (mine.id, mine.seq)
    entry = told.table.get(ONE.key)
    assert entry is not None
    assert told.figures.get(entry, 4.004) is told.figures.get(entry, 4.0)
    told.table.apply(Report(ONE, Load(2)), 5.0)
    for one in (told.follower, other):
        told.figures.invalidate(ONE.key)
        one.mark_changed([ONE])
        assert not told.take(5.0, one).loads[0].HasField("held"), "it does not tell"


def test_one_that_comes_back_has_another_number() -> None:
    told = Told()
    before = {instance.addr: instance.id for instance in told.take().instances}
    told.leave()
    told.table.apply(Report(replace(ONE, epoch=8), Load(1)), 0.0)
    told.follower.mark_changed([ONE])
    frame = told.take()
    (instance,) = frame.instances
    assert [gone.id for gone in frame.gone] == [before["a:1"]]
    assert instance.id not in before.values()
    assert [load.id for load in frame.loads] == [instance.id]


def test_facts_that_changed_are_told_anew() -> None:
    told = Told()
    told.take()
    told.table.apply(Report(replace(ONE, total=9), Load(2)), 0.0)
    told.follower.mark_changed([ONE])
    assert [instance.total for instance in told.take().instances] == [9]
    told.table.apply(Report(replace(ONE, total=9), Load(3)), 0.0)
    told.follower.mark_changed([ONE])
    assert not told.take().instances


def test_one_that_left_is_told_once() -> None:
    told = Told()
    told.take()
    told.leave()
    assert told.follower.has_updates()
    assert [gone.reason for gone in told.take().gone] == ["left"]
    assert not told.take().gone


def test_one_that_came_and_left_between_frames_is_not_told() -> None:
    told = Told()
    told.leave()
    frame = told.take()
    assert [told.addr for told in frame.instances] == ["b:1"]
    assert not frame.gone


def test_only_the_services_asked_for() -> None:
    told = Told("asr")
    assert [told.subsvc for told in told.take().instances] == ["asr"]
    told.follower.mark_changed([ONE])
    assert not told.follower.has_updates()


def test_who_was_placed_here_is_not_told_to_others() -> None:
    table = EndpointTable()
    placed = Instance("ase", "ocr", "s:1")
    table.add_static(placed, 0.0)
    follower = Subscriber("g", (), table)
    (entry,) = table
    follower.mark_changed([entry.instance])
    assert not Frame.FromString(
        follower.next_frame(table, EncodedLoadCache(), {}, 9, 1e9)
    ).instances


def test_an_age_beyond_bounds_is_the_most_there_is() -> None:
    assert {load.age_ms for load in Told().take(1e9).loads} == {2**32 - 1}
