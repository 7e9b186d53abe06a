"""Licences: taken, freed, refused, and what the report says of them."""

from math import sqrt

import pytest

from lb.endpoints.report import ServingState
from lb.reporter.limiter import ConcurrencyLimiter, default_queue_size


def test_acquire_is_limited_to_total() -> None:
    changes: list[int] = []
    limiter = ConcurrencyLimiter(2, lambda: changes.append(1))
    assert [limiter.try_acquire("g") for _ in range(3)] == [True, True, False]
    assert limiter.inflight == 2
    load = limiter.next_load()
    assert (load.running, load.queued, load.rejected, load.requests_by_gateway) == (
        2,
        0,
        1,
        {"g": 2},
    )
    limiter.release("g", 10.0, succeeded=True)
    assert limiter.try_acquire("h")
    assert limiter.next_load().requests_by_gateway == {"g": 1, "h": 1}
    assert len(changes) == 5, "every change is told"


def test_requests_beyond_best_are_queued() -> None:
    limiter = ConcurrencyLimiter(3, lambda: None, best=1)
    assert [limiter.try_acquire(name) for name in "abcd"] == [True, True, True, False]
    load = limiter.next_load()
    assert (load.running, load.queued, load.requests_by_gateway) == (1, 2, {"a": 1, "b": 1, "c": 1})
    limiter.release("a", 1.0, succeeded=True)
    assert (limiter.next_load().running, limiter.next_load().queued) == (1, 1)
    limiter.release("b", 1.0, succeeded=True)
    limiter.release("c", 1.0, succeeded=True)
    assert limiter.next_load().requests_by_gateway == {}


def test_only_successful_requests_count_for_service_time() -> None:
    limiter = ConcurrencyLimiter(1, lambda: None)
    for service_ms, succeeded in ((10.0, True), (0.1, False), (40.0, True)):
        assert limiter.try_acquire("g")
        limiter.release("g", service_ms, succeeded=succeeded, failed=not succeeded)
    load = limiter.next_load()
    assert load.service_ms == pytest.approx(sqrt(10.0 * 40.0)), "the first ones count alike"
    assert (load.served, load.errors) == (3, 1)


def test_service_time_smooths_single_slow_requests() -> None:
    limiter = ConcurrencyLimiter(1, lambda: None)

    def serve(service_ms: float, times: int) -> float:
        for _ in range(times):
            assert limiter.try_acquire("g")
            limiter.release("g", service_ms, succeeded=True)
        return limiter.service_ms

    assert serve(10.0, 500) == pytest.approx(10.0)
    assert serve(1000.0, 1) < 10.5
    assert serve(20.0, 500) == pytest.approx(20.0, rel=0.05)


def test_draining_loader_rejects_requests() -> None:
    limiter = ConcurrencyLimiter(1, lambda: None)
    limiter.set_serving_state(ServingState.DRAINING)
    assert not limiter.try_acquire("g")
    assert limiter.next_load().serving_state is ServingState.DRAINING


def test_loads_have_sequence_numbers() -> None:
    limiter = ConcurrencyLimiter(1, lambda: None)
    assert [limiter.next_load().seq for _ in range(3)] == [1, 2, 3]


def test_load_is_a_snapshot() -> None:
    limiter = ConcurrencyLimiter(2, lambda: None)
    limiter.try_acquire("g")
    load = limiter.next_load()
    limiter.try_acquire("g")
    assert (load.running, load.requests_by_gateway) == (1, {"g": 1})


def test_default_queue_size() -> None:
    assert [default_queue_size(best) for best in (1, 2, 3, 4, 8, 100)] == [16, 8, 5, 4, 8, 100]
    assert [default_queue_size(best) for best in (6_000, 10_000, 20_000)] == [4_000, 0, 0]
