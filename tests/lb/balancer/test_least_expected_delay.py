"""Our policy: what it draws from, what it takes, and what it does over many picks."""

from collections import Counter
from random import Random

import pytest

from lb.balancer.least_expected_delay import LeastExpectedDelay, rank_by_delay
from lb.endpoints.candidates import Pool
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.lifecycle import EndpointState
from lb.endpoints.report import Instance, Load, ReportMode


def entry(
    addr: str,
    *,
    foreign: int = 0,
    inflight: int = 0,
    slot: float = 20.0,
    served: int = 1000,
    feed: ReportMode = ReportMode.ON_CHANGE,
    limit: int = 1000,
) -> Endpoint:
    instance = Instance("ase", "ocr", addr, 7, total=limit, best=4, report_mode=feed)
    made = Endpoint(instance, Load(1, served=served, service_ms=slot), EndpointState.UP, 0.0)
    made.remote_load, made.inflight = foreign, inflight
    made.update_load_level()
    return made


def filled(*entries: Endpoint) -> Pool:
    pool = Pool("")
    pool.fill(entries, 0.0)
    return pool


def picks(*entries: Endpoint, now: float = 0.0, times: int = 400) -> Counter[str]:
    pool, policy = filled(*entries), LeastExpectedDelay(Random(1))
    chosen = [policy.choose(pool, now, ()) for _ in range(times)]
    return Counter(found.instance.addr if found else "none" for found in chosen)


@pytest.mark.parametrize(
    ("entries", "addr"),
    [
        ([entry("a", foreign=4), entry("b", foreign=3)], "b"),
        ([entry("a", foreign=8), entry("b", foreign=9)], "a"),
        ([entry("a", slot=20), entry("b", slot=40)], "a"),
        ([entry("a", slot=20, foreign=9), entry("b", slot=40)], "b"),
        ([entry("a", inflight=1), entry("b", inflight=0)], "b"),
        ([entry("a", inflight=4), entry("b", foreign=3)], "b"),
    ],
    ids=range(6),
)
def test_the_better_of_two_wins_all_but_where_the_other_is_drawn_four_times(
    entries: list[Endpoint], addr: str
) -> None:
    assert picks(*entries)[addr] > 400 * (1 - 1 / 16) - 30


def test_own_load_goes_first() -> None:
    """Two in four draws are among those with the least own load, whatever is reported of them."""
    ours = [entry(f"ours:{n}", inflight=1) for n in range(50)]
    assert picks(*ours, entry("free:1"))["free:1"] > 380
    assert picks(*ours, entry("full:1", foreign=40))["full:1"] < 20


def test_chance_decides_between_equals() -> None:
    counts = picks(*[entry(f"a:{n}") for n in range(4)])
    assert all(60 < count < 140 for count in counts.values())
    assert len(counts) == 4


def test_one_with_room_is_found_where_the_draw_found_none() -> None:
    full = [entry(f"full:{n}", foreign=4, limit=4) for n in range(10)]
    room = entry("room", foreign=3, limit=4, inflight=0)
    assert picks(*full, room)["room"] == 400
    pool, policy = filled(*full), LeastExpectedDelay(Random(1))
    chosen = policy.choose(pool, 0.0, ())
    assert chosen is not None
    assert chosen.outstanding() >= chosen.limit, "whoever asks, looks"
    assert policy.choose(filled(*full, room), 0.0, ("full:1",)) is room


@pytest.mark.parametrize(
    ("age", "least", "most"), [(0.0, 355, 395), (0.02, 230, 320), (1.0, 160, 240)]
)
def test_a_report_that_came_at_times_fades_with_the_slot_time(
    age: float, least: int, most: int
) -> None:
    told = [entry("a", foreign=9, feed=ReportMode.PERIODIC), entry("b", feed=ReportMode.PERIODIC)]
    assert least <= picks(*told, now=age)["b"] <= most


def test_without_reports_own_load_decides_alone() -> None:
    told = [entry("a", inflight=1, feed=ReportMode.NONE), entry("b", feed=ReportMode.NONE)]
    assert picks(*told) == {"b": 400}
    policy = LeastExpectedDelay(Random(1))
    policy.choose(filled(*told), 0.0, ())
    assert (policy.picks_by_report, policy.picks_by_own_load) == (0, 1)


@pytest.mark.parametrize("size", [2, 64, 4096])
def test_a_pick_looks_at_no_more_than_a_few(size: int) -> None:
    """Entries that count how often they are asked: the same for any size."""

    class Counting(Random):
        calls = 0

        def random(self) -> float:
            self.calls += 1
            return super().random()

    rng = Counting(1)
    pool, policy = filled(*[entry(f"a:{n}") for n in range(size)]), LeastExpectedDelay(rng)
    for _ in range(100):
        policy.choose(pool, 0.0, ())
    assert rng.calls == 100


def test_rank_is_by_expected_delay() -> None:
    a, b, c = entry("a", foreign=9), entry("b"), entry("c", slot=10)
    assert rank_by_delay([a, b, c]) == [c, b, a]
