"""Who may be picked, and the levels of own load: against a scan, over random histories."""

from random import Random

import pytest

from lb.endpoints.candidates import Pool
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.lifecycle import EndpointEvent, EndpointState
from lb.endpoints.outlier import EjectionCause, EjectionState
from lb.endpoints.report import Instance, Load


def entry(
    addr: str, state: EndpointState = EndpointState.UP, *, digest: str = "d", served: int = 1
) -> Endpoint:
    instance = Instance("ase", "ocr", addr, 7, digest=digest, total=4, best=4)
    return Endpoint(instance, Load(1, served=served), state, 0.0)


def pool(*entries: Endpoint, now: float = 0.0) -> Pool:
    made = Pool("d")
    made.fill(entries, now)
    return made


def addrs(entries: list[Endpoint]) -> str:
    return " ".join(sorted(entry.instance.addr for entry in entries))


def ejected(
    addr: str, reason: EjectionCause = EjectionCause.CONSECUTIVE_FAILURES, until: float = 5.0
) -> Endpoint:
    made = entry(addr)
    (
        made.outlier_detector.state,
        made.outlier_detector.cause,
        made.outlier_detector.ejected_until,
    ) = EjectionState.EJECTED, reason, until
    return made


def suspect(addr: str, reason: EndpointEvent) -> Endpoint:
    made = entry(addr, EndpointState.SUSPECT)
    made.reason = reason
    return made


@pytest.mark.parametrize(
    ("entries", "members", "trials"),
    [
        ([entry("a"), entry("b", EndpointState.DRAINING)], "a", ""),
        ([entry("a", EndpointState.DRAINING)], "", ""),
        ([entry("a"), entry("b", digest=""), entry("c", digest="e")], "a b", ""),
        (
            [
                entry("a"),
                suspect("b", EndpointEvent.SILENT),
                suspect("c", EndpointEvent.HUB_FORGOT),
            ],
            "a b c",
            "",
        ),
        ([entry("a"), suspect("b", EndpointEvent.STREAM_LOST)], "a", ""),
        ([suspect("b", EndpointEvent.STREAM_LOST)], "b", ""),
        ([entry("a"), ejected("b")], "a", ""),
        ([entry("a"), ejected("b"), ejected("c")], "a b c", ""),  # panic
        ([ejected("b")], "b", ""),
        (
            [
                entry("a"),
                ejected("b", EjectionCause.UNREACHABLE),
                ejected("c", EjectionCause.UNREACHABLE),
            ],
            "a",
            "",
        ),
        ([ejected("b", EjectionCause.UNREACHABLE)], "b", ""),
        ([entry("a"), entry("b", served=0)], "a b", "b"),  # a newcomer
        ([entry("a"), ejected("b", until=0.0)], "a", "b"),  # its time is over: one may try it
        ([ejected("b", until=0.0)], "b", "b"),
    ],
    ids=range(14),
)
def test_who_may_be_picked(entries: list[Endpoint], members: str, trials: str) -> None:
    made = pool(*entries, now=1.0)
    assert (addrs(made.members), addrs(made.trials)) == (members, trials)
    made.clear()
    assert all(entry.pool is None for entry in entries)
    for told in entries:  # cases are made once: leave them as they were
        if told.outlier_detector.state is EjectionState.PROBING:
            told.outlier_detector.state = EjectionState.EJECTED


def test_a_pool_lasts_until_somebody_may_be_tried() -> None:
    assert pool(entry("a"), ejected("b", until=9.0), ejected("c", until=7.0)).expires_at == 7.0
    assert pool(entry("a")).expires_at == float("inf")


def test_levels_are_what_a_scan_finds() -> None:
    rng = Random(2)
    entries = [entry(f"a:{n}") for n in range(30)]
    for told in entries:
        told.load_weight = rng.choice([4, 8, 16])
    made = pool(*entries)
    for _ in range(20_000):
        told = rng.choice(entries)
        told.inflight = max(0, told.inflight + rng.choice([-1, -1, 1, 1, 5]))
        if rng.random() < 0.05:
            told.load_weight = rng.choice([1, 4, 64])
        told.update_load_level()
        assert told.load_level == min(4095, told.inflight * told.load_weight)
        assert made.lowest_level == min(other.load_level for other in entries)
        assert told in made.levels[told.load_level]
    for level, peers in enumerate(made.levels):
        assert [peer.level_index for peer in peers] == list(range(len(peers)))
        assert all(peer.load_level == level for peer in peers)
    assert sum(map(len, made.levels)) == len(entries)


def test_a_newcomer_gets_the_next_request_once() -> None:
    new = entry("new", served=0)
    made = pool(new, entry("old"))
    assert made.pop_trial(1.0) is new
    assert made.pop_trial(1.0) is None


def test_a_newcomer_that_others_asked_meanwhile_is_not_new() -> None:
    new = entry("new", served=0)
    made = pool(new, entry("old"))
    new.remote_load = 1
    assert made.pop_trial(1.0) is None


def test_one_without_room_waits_for_its_trial() -> None:
    full = ejected("full", until=0.0)
    full.remote_load = 4
    made = pool(entry("a"), full, now=1.0)
    assert made.pop_trial(1.0) is None
    full.remote_load = 0
    assert made.pop_trial(1.0) is full


def test_while_a_trial_is_under_way_there_is_no_other() -> None:
    tried = ejected("b", until=0.0)
    tried.inflight = 1
    assert pool(entry("a"), tried, now=1.0).trials == []


def test_when_most_streams_broke_it_is_rather_the_hub() -> None:
    cut = [suspect(name, EndpointEvent.STREAM_LOST) for name in "bcd"]
    assert addrs(pool(entry("a"), *cut).members) == "a b c d"
    assert addrs(pool(entry("a"), entry("e"), entry("f"), *cut).members) == "a e f"
