"""The pick: decisions as tables, chance held still, and what it does over many picks."""

from random import Random

import pytest

from lb.pick import expected_ms, pick, rank, slot_ms
from lb.report import Instance, Load
from lb.table import Entry, State


def entry(addr: str, *, running: int = 0, slot: float = 20.0, served: int = 1000, total: int = 4,
          state: State = State.UP, inflight: int = 0) -> Entry:  # fmt: skip
    instance = Instance("ase", "ocr", addr, 1, total=total)
    load = Load(1, running=running, service_ms=slot, served=served)
    asked = inflight
    return Entry(instance, load, state, 0.0, 0.0, inflight=inflight, sent=inflight, asked=asked)


def chosen(*entries: Entry, exclude: tuple[str, ...] = (), seed: int = 1) -> str:
    found = pick(entries, now=0.0, rng=Random(seed), exclude=exclude)
    return found.instance.addr if found else "none"


@pytest.mark.parametrize(
    ("entries", "addr"),
    [
        ([], "none"),
        ([entry("a", running=4), entry("b", running=3)], "b"),
        ([entry("a", running=4), entry("b", running=9)], "a"),
        ([entry("a", slot=20), entry("b", slot=40)], "a"),
        ([entry("a", slot=20, running=8), entry("b", slot=40)], "b"),
        ([entry("a", running=4, total=4), entry("b", running=4, total=8)], "b"),
        ([entry("a", running=1), entry("b", running=0)], "b"),
        ([entry("a", inflight=4), entry("b", running=3)], "b"),
        ([entry("a", state=State.DRAINING)], "none"),
        ([entry("a", state=State.SUSPECT), entry("b", running=99)], "b"),
        ([entry("a", state=State.SUSPECT), entry("b", state=State.DRAINING)], "a"),
        ([entry("a"), entry("b", served=0, slot=0)], "b"),
    ],
    ids=range(12),
)
def test_the_least_expected_work_wins(entries: list[Entry], addr: str) -> None:
    assert {chosen(*entries, seed=seed) for seed in range(20)} == {addr}


def test_what_was_tried_is_left_out() -> None:
    assert chosen(entry("a"), entry("b", running=9), exclude=("a",)) == "b"
    assert chosen(entry("a"), exclude=("a",)) == "none"


def test_chance_decides_between_equals() -> None:
    used = [chosen(entry("a", slot=20), entry("b", slot=20.5), seed=seed) for seed in range(100)]
    assert 30 < used.count("a") < 70


@pytest.mark.parametrize(
    ("slot", "served", "worked", "believed"),
    [
        (90.0, 1000, 95.0, 90.0),  # told by many, of late
        (90.0, 19, 99.0, 20.0),  # a cold start: told by few
        (90.0, 1000, 94.9, 20.0),  # a bad moment, long past
        (22.9, 1000, 99.0, 20.0),  # within a tenth and a millisecond: the same
        (23.1, 1000, 99.0, 23.1),
        (0.0, 0, 0.0, 20.0),  # nothing told
    ],
)
def test_a_slot_time_is_believed_or_is_the_fleet_s(
    slot: float, served: int, worked: float, believed: float
) -> None:
    told = entry("a", slot=slot, served=served)
    told.worked = worked
    assert slot_ms(told, 20.0, 100.0) == believed


def test_a_cold_start_does_not_condemn() -> None:
    cold, warm = entry("cold", slot=120.0, served=4), entry("warm", slot=17.0)
    used = [chosen(cold, warm, seed=seed) for seed in range(100)]
    assert 30 < used.count("cold") < 70


def test_expected_work_counts_the_queue() -> None:
    busy, free = entry("busy", running=8), entry("free", running=3)
    assert expected_ms(free, 20.0, 0.0) == pytest.approx(20.0, rel=0.01)
    assert expected_ms(busy, 20.0, 0.0) == pytest.approx(20.0 * (1 + 5 / 4), rel=0.01)
    assert [found.instance.addr for _, found in rank([busy, free], 0.0)] == ["free", "busy"]


def test_a_newcomer_is_asked_once_then_judged() -> None:
    new, old = entry("new", served=0, slot=0.0), entry("old")
    new.load = Load(1)
    assert chosen(new, old) == "new"
    new.asked = 1
    assert {chosen(new, old, seed=seed) for seed in range(20)} == {"new", "old"}
    new.load = Load(2, running=4)
    assert chosen(new, old) == "old"


def test_a_newcomer_that_another_gateway_keeps_busy_is_not_new() -> None:
    assert chosen(entry("new", served=0, slot=0.0, running=4), entry("old")) == "old"


def test_one_that_could_not_be_reached_is_left_alone_for_a_while() -> None:
    dead, busy = entry("dead"), entry("busy", running=99)
    dead.shunned = 5.0
    for now, addr in ((4.9, "busy"), (5.0, "dead")):
        found = pick([dead, busy], now=now, rng=Random(1))
        assert found is not None
        assert found.instance.addr == addr
    assert chosen(dead) == "dead", "better than nobody"


def test_a_static_instance_counts_by_what_is_unanswered() -> None:
    static = Entry(Instance("ase", "ocr", "s"), Load(), State.UP, 0.0, 0.0)
    static.inflight, static.sent = 3, 50
    assert static.queue() == 3
