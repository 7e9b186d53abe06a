"""Frames: a snapshot, then changes; the latest wins; facts once, each gateway its own count."""

from lb.follower import Follower
from lb.life import Event
from lb.report import Instance, Load, Report
from lb.table import Table

DOCUMENTS = {"d" * 64: b"{}"}
ONE = Instance("ase", "ocr", "a:1", 7, digest="d" * 64, total=4)
TWO = Instance("ase", "asr", "b:1", 8, total=2)


def setup(services: tuple[str, ...] = ()) -> tuple[Table, Follower, list[int]]:
    table, heard = Table(), list[int]()
    table.apply(Report(ONE, Load(1, running=3, held={"g": 2, "other": 1})), 0.0)
    table.apply(Report(TWO, Load(1)), 0.0)
    follower = Follower("g", services, list(table), lambda: heard.append(1))
    return table, follower, heard


def test_first_a_snapshot_then_changes() -> None:
    table, follower, heard = setup()
    first = follower.take(table, DOCUMENTS, 2.0)
    assert first.snapshot
    assert first.version == 1
    assert {told.addr for told in first.instances} == {"a:1", "b:1"}
    assert [told.digest for told in first.schemas] == ["d" * 64]
    assert {told.age_ms for told in first.loads} == {2000}
    empty = follower.take(table, DOCUMENTS, 2.0)
    assert (empty.version, empty.snapshot, len(empty.loads)) == (2, False, 0)
    heard.clear()
    for seq in (2, 3, 4):
        report = Report(ONE, Load(seq, running=seq, held={"g": 1, "other": 3}))
        table.apply(report, 3.0)
        follower.touched(ONE)
    assert heard
    frame = follower.take(table, DOCUMENTS, 3.0)
    (load,) = frame.loads
    assert (load.seq, load.running, load.held) == (4, 4, 1), "the latest, once, our count alone"
    assert not frame.instances
    assert not frame.schemas


def test_one_that_left_is_told_once() -> None:
    table, follower, _ = setup()
    follower.take(table, DOCUMENTS, 0.0)
    for change in table.forget(ONE.key, 7, Event.REPORTED_DOWN):
        follower.left(change)
    frame = follower.take(table, DOCUMENTS, 0.0)
    assert [gone.reason for gone in frame.gone] == ["left"]
    assert not follower.take(table, DOCUMENTS, 0.0).gone


def test_one_that_came_and_left_between_frames_is_not_told() -> None:
    table, follower, _ = setup()
    for change in table.forget(ONE.key, 7, Event.REPORTED_DOWN):
        follower.left(change)
    frame = follower.take(table, DOCUMENTS, 0.0)
    assert [told.addr for told in frame.instances] == ["b:1"]
    assert not frame.gone


def test_only_the_services_asked_for() -> None:
    table, follower, _ = setup(("asr",))
    frame = follower.take(table, DOCUMENTS, 0.0)
    assert [told.subsvc for told in frame.instances] == ["asr"]


def test_who_was_placed_here_is_not_told_to_others() -> None:
    table = Table()
    placed = Instance("ase", "ocr", "s:1")
    table.place(placed, 0.0)
    follower = Follower("g", (), list(table), lambda: None)
    (entry,) = table
    follower.touched(entry.instance)
    assert not follower.take(table, {}, 1e9).instances


def test_an_age_beyond_bounds_is_the_most_there_is() -> None:
    table, follower, _ = setup()
    assert {told.age_ms for told in follower.take(table, DOCUMENTS, 1e9).loads} == {2**32 - 1}
