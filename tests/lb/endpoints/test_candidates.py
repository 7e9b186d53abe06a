"""Who may be picked, and the levels of own load: against a scan, over random histories."""

from random import Random

import pytest

from lb.endpoints.candidates import Pool
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.lifecycle import EndpointEvent, EndpointState
from lb.endpoints.outlier import EjectionCause, EjectionState
from lb.endpoints.report import Instance, Load


def make_endpoint(
    addr: str, state: EndpointState = EndpointState.UP, *, digest: str = "d", served: int = 1
) -> Endpoint:
    instance = Instance("ase", "ocr", addr, 7, digest=digest, total=4, best=4)
    return Endpoint(instance, Load(1, served=served), state, 0.0)


def make_pool(*endpoints: Endpoint, now: float = 0.0) -> Pool:
    pool = Pool("d")
    pool.fill(endpoints, now)
    return pool


def joined_addrs(endpoints: list[Endpoint]) -> str:
    return " ".join(sorted(endpoint.instance.addr for endpoint in endpoints))


def make_ejected(
    addr: str, cause: EjectionCause = EjectionCause.CONSECUTIVE_FAILURES, ejected_until: float = 5.0
) -> Endpoint:
    endpoint = make_endpoint(addr)
    (
        endpoint.outlier_detector.state,
        endpoint.outlier_detector.cause,
        endpoint.outlier_detector.ejected_until,
    ) = EjectionState.EJECTED, cause, ejected_until
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
        (
            [make_endpoint("a"), make_ejected("b", ejected_until=0.0)],
            "a",
            "b",
        ),  # its time is over: one may try it
        ([make_ejected("b", ejected_until=0.0)], "b", "b"),
    ],
    ids=range(14),
)
def test_pool_members_and_trials(endpoints: list[Endpoint], members: str, trials: str) -> None:
    candidates = make_pool(*endpoints, now=1.0)
    assert (joined_addrs(candidates.members), joined_addrs(candidates.trials)) == (members, trials)
    candidates.clear()
    assert all(endpoint.pool is None for endpoint in endpoints)
    for endpoint in endpoints:  # cases are made once: leave them as they were
        if endpoint.outlier_detector.state is EjectionState.PROBING:
            endpoint.outlier_detector.state = EjectionState.EJECTED


def test_pool_expires_when_an_ejection_ends() -> None:
    assert (
        make_pool(
            make_endpoint("a"),
            make_ejected("b", ejected_until=9.0),
            make_ejected("c", ejected_until=7.0),
        ).expires_at
        == 7.0
    )
    assert make_pool(make_endpoint("a")).expires_at == float("inf")


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
    full = make_ejected("full", ejected_until=0.0)
    full.remote_load = 4
    candidates = make_pool(make_endpoint("a"), full, now=1.0)
    assert candidates.pop_trial(1.0) is None
    full.remote_load = 0
    assert candidates.pop_trial(1.0) is full


def test_only_one_trial_at_a_time() -> None:
    probing = make_ejected("b", ejected_until=0.0)
    probing.inflight = 1
    assert make_pool(make_endpoint("a"), probing, now=1.0).trials == []


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
