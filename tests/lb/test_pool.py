"""Who may be picked, and the levels of own load: against a scan, over random histories."""

from random import Random

import pytest

from lb.entry import Entry
from lb.health import Sign, Standing
from lb.life import Event, State
from lb.pool import Pool
from lb.report import Instance, Load


def entry(addr: str, state: State = State.UP, *, digest: str = "d", served: int = 1) -> Entry:
    instance = Instance("ase", "ocr", addr, 7, digest=digest, total=4, best=4)
    return Entry(instance, Load(1, served=served), state, 0.0)


def pool(*entries: Entry, now: float = 0.0) -> Pool:
    made = Pool("d")
    made.fill(entries, now)
    return made


def addrs(entries: list[Entry]) -> str:
    return " ".join(sorted(entry.instance.addr for entry in entries))


def ejected(addr: str, reason: Sign = Sign.FAILED_IN_ROW, until: float = 5.0) -> Entry:
    made = entry(addr)
    made.health.standing, made.health.reason, made.health.until = Standing.EJECTED, reason, until
    return made


def suspect(addr: str, reason: Event) -> Entry:
    made = entry(addr, State.SUSPECT)
    made.reason = reason
    return made


@pytest.mark.parametrize(
    ("entries", "members", "trials"),
    [
        ([entry("a"), entry("b", State.DRAINING)], "a", ""),
        ([entry("a", State.DRAINING)], "", ""),
        ([entry("a"), entry("b", digest=""), entry("c", digest="e")], "a b", ""),
        ([entry("a"), suspect("b", Event.SILENT), suspect("c", Event.HUB_FORGOT)], "a b c", ""),
        ([entry("a"), suspect("b", Event.STREAM_LOST)], "a", ""),
        ([suspect("b", Event.STREAM_LOST)], "b", ""),
        ([entry("a"), ejected("b")], "a", ""),
        ([entry("a"), ejected("b"), ejected("c")], "a b c", ""),  # panic
        ([ejected("b")], "b", ""),
        ([entry("a"), ejected("b", Sign.UNREACHABLE), ejected("c", Sign.UNREACHABLE)], "a", ""),
        ([ejected("b", Sign.UNREACHABLE)], "b", ""),
        ([entry("a"), entry("b", served=0)], "a b", "b"),  # a newcomer
        ([entry("a"), ejected("b", until=0.0)], "a", "b"),  # its time is over: one may try it
        ([ejected("b", until=0.0)], "b", "b"),
    ],
    ids=range(14),
)
def test_who_may_be_picked(entries: list[Entry], members: str, trials: str) -> None:
    made = pool(*entries, now=1.0)
    assert (addrs(made.members), addrs(made.trials)) == (members, trials)
    made.clear()
    assert all(entry.pool is None for entry in entries)
    for told in entries:  # cases are made once: leave them as they were
        if told.health.standing is Standing.TRIED:
            told.health.standing = Standing.EJECTED


def test_a_pool_lasts_until_somebody_may_be_tried() -> None:
    assert pool(entry("a"), ejected("b", until=9.0), ejected("c", until=7.0)).until == 7.0
    assert pool(entry("a")).until == float("inf")


def test_levels_are_what_a_scan_finds() -> None:
    rng = Random(2)
    entries = [entry(f"a:{n}") for n in range(30)]
    for told in entries:
        told.step = rng.choice([4, 8, 16])
    made = pool(*entries)
    for _ in range(20_000):
        told = rng.choice(entries)
        told.inflight = max(0, told.inflight + rng.choice([-1, -1, 1, 1, 5]))
        if rng.random() < 0.05:
            told.step = rng.choice([1, 4, 64])
        told.settle()
        assert told.level == min(4095, told.inflight * told.step)
        assert made.lowest == min(other.level for other in entries)
        assert told in made.levels[told.level]
    for level, peers in enumerate(made.levels):
        assert [peer.spot for peer in peers] == list(range(len(peers)))
        assert all(peer.level == level for peer in peers)
    assert sum(map(len, made.levels)) == len(entries)


def test_a_newcomer_gets_the_next_request_once() -> None:
    new = entry("new", served=0)
    made = pool(new, entry("old"))
    assert made.trial(1.0) is new
    assert made.trial(1.0) is None


def test_a_newcomer_that_others_asked_meanwhile_is_not_new() -> None:
    new = entry("new", served=0)
    made = pool(new, entry("old"))
    new.foreign = 1
    assert made.trial(1.0) is None


def test_one_without_room_waits_for_its_trial() -> None:
    full = ejected("full", until=0.0)
    full.foreign = 4
    made = pool(entry("a"), full, now=1.0)
    assert made.trial(1.0) is None
    full.foreign = 0
    assert made.trial(1.0) is full


def test_while_a_trial_is_under_way_there_is_no_other() -> None:
    tried = ejected("b", until=0.0)
    tried.inflight = 1
    assert pool(entry("a"), tried, now=1.0).trials == []


def test_when_most_streams_broke_it_is_rather_the_hub() -> None:
    cut = [suspect(name, Event.STREAM_LOST) for name in "bcd"]
    assert addrs(pool(entry("a"), *cut).members) == "a b c d"
    assert addrs(pool(entry("a"), entry("e"), entry("f"), *cut).members) == "a e f"
