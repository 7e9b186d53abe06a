"""Who may be picked, and the levels of own load: against a scan, over random histories."""

from random import Random

import pytest

from lb.endpoints.candidates import Pool
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.lifecycle import EndpointEvent, EndpointState
from lb.endpoints.outlier import EjectionCause, EjectionState
from lb.endpoints.report import Instance, Load
from lb.endpoints.traffic import split_by_traffic


def make_endpoint(
    addr: str, state: EndpointState = EndpointState.UP, *, digest: str = "d", served: int = 1
) -> Endpoint:
    instance = Instance("ase", "ocr", addr, 7, digest=digest, total=4, best=4)
    return Endpoint(instance, Load(1, served=served), state, 0.0)


def make_pool(*endpoints: Endpoint) -> Pool:
    pool = Pool("d")
    pool.fill(endpoints)
    return pool


def joined_addrs(endpoints: list[Endpoint]) -> str:
    return " ".join(sorted(endpoint.instance.addr for endpoint in endpoints))


def make_ejected(addr: str, cause: EjectionCause = EjectionCause.CONSECUTIVE_FAILURES) -> Endpoint:
    return make_with_health(addr, EjectionState.EJECTED, cause)


def make_with_health(
    addr: str, state: EjectionState, cause: EjectionCause = EjectionCause.CHECK_PASSED
) -> Endpoint:
    endpoint = make_endpoint(addr)
    endpoint.outlier_detector.state, endpoint.outlier_detector.cause = state, cause
    return endpoint


def make_suspect(addr: str, reason: EndpointEvent) -> Endpoint:
    endpoint = make_endpoint(addr, EndpointState.SUSPECT)
    endpoint.reason = reason
    return endpoint


@pytest.mark.parametrize(
    ("endpoints", "members", "trials"),
    [
        ([make_endpoint("a"), make_endpoint("b", EndpointState.DRAINING)], "a", ""),
        ([make_endpoint("a", EndpointState.DRAINING)], "", ""),
        (
            [make_endpoint("a"), make_endpoint("b", digest=""), make_endpoint("c", digest="e")],
            "a b",
            "",
        ),
        (
            [
                make_endpoint("a"),
                make_suspect("b", EndpointEvent.SILENT),
                make_suspect("c", EndpointEvent.HUB_FORGOT),
            ],
            "a b c",
            "",
        ),
        ([make_endpoint("a"), make_suspect("b", EndpointEvent.STREAM_LOST)], "a", ""),
        ([make_suspect("b", EndpointEvent.STREAM_LOST)], "b", ""),
        ([make_endpoint("a"), make_ejected("b")], "a", ""),
        ([make_endpoint("a"), make_ejected("b"), make_ejected("c")], "a b c", ""),  # panic
        ([make_ejected("b")], "b", ""),
        (
            [
                make_endpoint("a"),
                make_ejected("b", EjectionCause.UNREACHABLE),
                make_ejected("c", EjectionCause.UNREACHABLE),
            ],
            "a",
            "",
        ),
        ([make_ejected("b", EjectionCause.UNREACHABLE)], "b", ""),
        ([make_endpoint("a"), make_endpoint("b", served=0)], "a b", "b"),  # a newcomer
        ([make_endpoint("a"), make_with_health("b", EjectionState.PROBING)], "a", "b"),
        ([make_with_health("b", EjectionState.PROBING)], "b", "b"),
        ([make_endpoint("a"), make_with_health("b", EjectionState.UNCHECKED)], "a", ""),
        ([make_with_health("b", EjectionState.UNCHECKED)], "b", ""),
        ([make_endpoint("a"), make_with_health("b", EjectionState.CHECKING)], "a", ""),
        (
            [  # what does not answer never outnumbers what does
                make_endpoint("a"),
                *(make_ejected(name, EjectionCause.CHECK_FAILED) for name in "bcd"),
            ],
            "a",
            "",
        ),
    ],
    ids=range(18),
)
def test_pool_members_and_trials(endpoints: list[Endpoint], members: str, trials: str) -> None:
    candidates = make_pool(*endpoints)
    assert (joined_addrs(candidates.members), joined_addrs(candidates.trials)) == (members, trials)
    candidates.clear()
    assert all(endpoint.pool is None for endpoint in endpoints)


def test_load_levels_match_a_full_scan() -> None:
    rng = Random(2)
    endpoints = [make_endpoint(f"a:{n}") for n in range(30)]
    for endpoint in endpoints:
        endpoint.load_weight = rng.choice([4, 8, 16])
    candidates = make_pool(*endpoints)
    for _ in range(20_000):
        endpoint = rng.choice(endpoints)
        endpoint.inflight = max(0, endpoint.inflight + rng.choice([-1, -1, 1, 1, 5]))
        if rng.random() < 0.05:
            endpoint.load_weight = rng.choice([1, 4, 64])
        endpoint.update_load_level()
        assert endpoint.load_level == min(4095, endpoint.inflight * endpoint.load_weight)
        assert candidates.lowest_level == min(other.load_level for other in endpoints)
        assert endpoint in candidates.levels[endpoint.load_level]
    for level, peers in enumerate(candidates.levels):
        assert [peer.level_index for peer in peers] == list(range(len(peers)))
        assert all(peer.load_level == level for peer in peers)
    assert sum(map(len, candidates.levels)) == len(endpoints)


def test_newcomer_gets_one_trial_request() -> None:
    newcomer = make_endpoint("new", served=0)
    candidates = make_pool(newcomer, make_endpoint("old"))
    assert candidates.pop_trial(1.0) is newcomer
    assert candidates.pop_trial(1.0) is None


def test_newcomer_with_remote_load_gets_no_trial() -> None:
    newcomer = make_endpoint("new", served=0)
    candidates = make_pool(newcomer, make_endpoint("old"))
    newcomer.remote_load = 1
    assert candidates.pop_trial(1.0) is None


def test_full_endpoint_waits_for_its_trial() -> None:
    full = make_with_health("full", EjectionState.PROBING)
    full.remote_load = 4
    candidates = make_pool(make_endpoint("a"), full)
    assert candidates.pop_trial(1.0) is None
    full.remote_load = 0
    assert candidates.pop_trial(1.0) is full


def test_only_one_trial_at_a_time() -> None:
    probing = make_with_health("b", EjectionState.PROBING)
    probing.inflight = 1
    assert make_pool(make_endpoint("a"), probing).trials == []


def test_endpoints_stay_usable_when_most_streams_break() -> None:
    disconnected = [make_suspect(name, EndpointEvent.STREAM_LOST) for name in "bcd"]
    assert joined_addrs(make_pool(make_endpoint("a"), *disconnected).members) == "a b c d"
    assert (
        joined_addrs(
            make_pool(
                make_endpoint("a"), make_endpoint("e"), make_endpoint("f"), *disconnected
            ).members
        )
        == "a e f"
    )


def make_split_pool(shares: dict[str, float], *endpoints: Endpoint) -> Pool:
    pool = Pool("d")
    pool.fill_by_traffic(split_by_traffic(endpoints, shares))
    return pool


def make_version(addr: str, version: str, *, digest: str = "d") -> Endpoint:
    instance = Instance("ase", "ocr", addr, 7, digest=digest, total=4, best=4, version=version)
    return Endpoint(instance, Load(1, served=1), EndpointState.UP, 0.0)


def test_versions_with_a_share_have_pools_of_their_own() -> None:
    pool = make_split_pool(
        {"v2": 0.25, "v3": 0.0},
        make_version("a", "v1"), make_version("b", "v2"), make_version("c", "v3"),
    )  # fmt: skip
    assert joined_addrs(pool.members) == "a"
    assert [(share, joined_addrs(group.members)) for share, group in pool.groups] == [
        (0.25, "b"), (0.0, "c"),
    ]  # fmt: skip
    draws = [joined_addrs(pool.group_of_key(draw / 8).members) for draw in range(8)]
    assert draws == ["b", "b", "a", "a", "a", "a", "a", "a"]


def test_keys_stay_with_their_version_whoever_joined_first_and_whatever_is_sick() -> None:
    shares = {"v2": 0.25, "v3": 0.5}
    old, second, third = (make_version(f"x{n}", f"v{n}") for n in (1, 2, 3))
    pool = make_split_pool(shares, old, second, third)
    expected = [pool.group_of_key(draw / 8).version for draw in range(8)]
    other = make_split_pool(shares, third, old, second)
    assert [other.group_of_key(draw / 8).version for draw in range(8)] == expected
    second.outlier_detector.state = EjectionState.EJECTED
    sick = make_split_pool(shares, old, second, third)
    assert [sick.group_of_key(draw / 8).version for draw in range(8)] == expected


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.5, 0.99, 1.0])
def test_turns_are_those_of_the_share_however_often_one_asks(share: float) -> None:
    pool = make_split_pool({"v2": share}, make_version("a", "v1"), make_version("b", "v2"))
    rng = Random(1)
    picks = 0
    for _ in range(1000):
        for _ in range(5):  # requests that wait ask again and again
            picked = pool.pools_in_turn(rng)[0]
        pool.count_pick(picked)
        picks += picked is not pool
    assert abs(picks - 1000 * share) <= 1


def test_version_that_was_full_has_two_turns_left_at_most() -> None:
    pool = make_split_pool({"v2": 0.5}, make_version("a", "v1"), make_version("b", "v2"))
    rng = Random(1)
    for _ in range(100):  # it is never picked: it is full
        pool.pools_in_turn(rng)
        pool.count_pick(pool)
    picks = 0
    for _ in range(10):
        picked = pool.pools_in_turn(rng)[0]
        pool.count_pick(picked)
        picks += picked is not pool
    assert picks <= 7


def test_shares_do_not_count_if_no_other_version_is_healthy() -> None:
    ejected = make_ejected("a")
    pool = make_split_pool({"v2": 0.0}, ejected, make_version("b", "v2"))
    assert (joined_addrs(pool.members), pool.groups) == ("b", [])
    other_schema = make_version("c", "v1", digest="e")
    pool = make_split_pool({"v2": 0.0}, other_schema, make_version("b", "v2"))
    assert (joined_addrs(pool.members), pool.groups) == ("b", [])


@pytest.mark.parametrize(
    ("states", "members", "trials"),
    [
        ([EjectionState.EJECTED], "", ""),
        ([EjectionState.PROBING], "", "v20"),
        # Ejections hold though most are ejected: the other versions are healthy.
        ([EjectionState.ADMITTED, EjectionState.EJECTED, EjectionState.EJECTED], "v20", ""),
        ([EjectionState.PROBING, EjectionState.EJECTED, EjectionState.EJECTED], "", "v20"),
        ([EjectionState.UNCHECKED], "", ""),
    ],
)
def test_version_has_healthy_endpoints_and_trials_alone(
    states: list[EjectionState], members: str, trials: str
) -> None:
    limited = [make_version(f"v2{n}", "v2") for n in range(len(states))]
    for endpoint, state in zip(limited, states, strict=True):
        endpoint.outlier_detector.state = state
    pool = make_split_pool({"v2": 0.5}, make_version("a", "v1"), *limited)
    ((_, group),) = pool.groups
    assert joined_addrs(pool.members) == "a"
    assert joined_addrs(group.members) == members
    assert [endpoint.instance.addr for endpoint in group.trials] == trials.split()
    assert all(endpoint.pool in (None, group) for endpoint in limited)


def test_pool_that_is_cleared_leaves_its_groups() -> None:
    limited = make_version("b", "v2")
    pool = make_split_pool({"v2": 0.5}, make_version("a", "v1"), limited)
    assert limited.pool is pool.groups[0][1]
    pool.clear()
    assert (limited.pool, pool.groups) == (None, [])
