"""Our policy: what it draws from, what it takes, and what it does over many picks."""

from collections import Counter
from random import Random

import pytest

from lb.balancer.least_expected_delay import LeastExpectedDelay, rank_by_delay
from lb.endpoints.candidates import Pool
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.lifecycle import EndpointState
from lb.endpoints.report import Instance, Load, ReportMode


def make_endpoint(
    addr: str,
    *,
    remote_load: int = 0,
    inflight: int = 0,
    service_ms: float = 20.0,
    served: int = 1000,
    report_mode: ReportMode = ReportMode.ON_CHANGE,
    limit: int = 1000,
) -> Endpoint:
    instance = Instance("ase", "ocr", addr, 7, total=limit, best=4, report_mode=report_mode)
    endpoint = Endpoint(
        instance, Load(1, served=served, service_ms=service_ms), EndpointState.UP, 0.0
    )
    endpoint.remote_load, endpoint.inflight = remote_load, inflight
    endpoint.update_load_level()
    return endpoint


def make_pool(*endpoints: Endpoint) -> Pool:
    pool = Pool("")
    pool.fill(endpoints)
    return pool


def count_picks(*endpoints: Endpoint, now: float = 0.0, times: int = 400) -> Counter[str]:
    pool, policy = make_pool(*endpoints), LeastExpectedDelay(Random(1))
    chosen = [policy.choose(pool, now, ()) for _ in range(times)]
    return Counter(endpoint.instance.addr if endpoint else "none" for endpoint in chosen)


@pytest.mark.parametrize(
    ("endpoints", "addr"),
    [
        ([make_endpoint("a", remote_load=4), make_endpoint("b", remote_load=3)], "b"),
        ([make_endpoint("a", remote_load=8), make_endpoint("b", remote_load=9)], "a"),
        ([make_endpoint("a", service_ms=20), make_endpoint("b", service_ms=40)], "a"),
        (
            [make_endpoint("a", service_ms=20, remote_load=9), make_endpoint("b", service_ms=40)],
            "b",
        ),
        ([make_endpoint("a", inflight=1), make_endpoint("b", inflight=0)], "b"),
        ([make_endpoint("a", inflight=4), make_endpoint("b", remote_load=3)], "b"),
    ],
    ids=range(6),
)
def test_better_of_two_endpoints_wins_nearly_always(endpoints: list[Endpoint], addr: str) -> None:
    assert count_picks(*endpoints)[addr] > 400 * (1 - 1 / 16) - 30


def test_own_load_is_preferred_over_reports() -> None:
    """Two in four draws are among those with the least own load, whatever is reported of them."""
    own_endpoints = [make_endpoint(f"ours:{n}", inflight=1) for n in range(50)]
    assert count_picks(*own_endpoints, make_endpoint("free:1"))["free:1"] > 380
    assert count_picks(*own_endpoints, make_endpoint("full:1", remote_load=40))["full:1"] < 20


def test_equal_endpoints_are_picked_at_random() -> None:
    counts = count_picks(*[make_endpoint(f"a:{n}") for n in range(4)])
    assert all(60 < count < 140 for count in counts.values())
    assert len(counts) == 4


def test_endpoint_with_capacity_is_found_when_samples_are_full() -> None:
    full_endpoints = [make_endpoint(f"full:{n}", remote_load=4, limit=4) for n in range(10)]
    available = make_endpoint("room", remote_load=3, limit=4, inflight=0)
    assert count_picks(*full_endpoints, available)["room"] == 400
    pool, policy = make_pool(*full_endpoints), LeastExpectedDelay(Random(1))
    chosen = policy.choose(pool, 0.0, ())
    assert chosen is not None
    assert chosen.outstanding() >= chosen.limit, "whoever asks, looks"
    assert policy.choose(make_pool(*full_endpoints, available), 0.0, ("full:1",)) is available


@pytest.mark.parametrize(
    ("now", "min_count", "max_count"), [(0.0, 355, 395), (0.02, 230, 320), (1.0, 160, 240)]
)
def test_periodic_report_decays_with_service_time(
    now: float, min_count: int, max_count: int
) -> None:
    endpoints = [
        make_endpoint("a", remote_load=9, report_mode=ReportMode.PERIODIC),
        make_endpoint("b", report_mode=ReportMode.PERIODIC),
    ]
    assert min_count <= count_picks(*endpoints, now=now)["b"] <= max_count


def test_own_load_decides_without_reports() -> None:
    endpoints = [
        make_endpoint("a", inflight=1, report_mode=ReportMode.NONE),
        make_endpoint("b", report_mode=ReportMode.NONE),
    ]
    assert count_picks(*endpoints) == {"b": 400}
    policy = LeastExpectedDelay(Random(1))
    policy.choose(make_pool(*endpoints), 0.0, ())
    assert (policy.picks_by_report, policy.picks_by_own_load) == (0, 1)


@pytest.mark.parametrize("size", [2, 64, 4096])
def test_pick_samples_a_constant_number(size: int) -> None:
    """Entries that count how often they are asked: the same for any size."""

    class Counting(Random):
        calls = 0

        def random(self) -> float:
            self.calls += 1
            return super().random()

    rng = Counting(1)
    pool, policy = (
        make_pool(*[make_endpoint(f"a:{n}") for n in range(size)]),
        LeastExpectedDelay(rng),
    )
    for _ in range(100):
        policy.choose(pool, 0.0, ())
    assert rng.calls == 100


def test_rank_is_by_expected_delay() -> None:
    a, b, c = (
        make_endpoint("a", remote_load=9),
        make_endpoint("b"),
        make_endpoint("c", service_ms=10),
    )
    assert rank_by_delay([a, b, c]) == [c, b, a]
