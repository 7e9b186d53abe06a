"""Pauses grow to a most, with jitter, and a success ends them."""

from random import Random

from rpc.backoff import MAX_BACKOFF_S, Backoff


def test_delays_grow_with_jitter_and_reset() -> None:
    backoff = Backoff(Random(1))
    delays = [backoff.next_delay() for _ in range(30)]
    assert 0.08 <= delays[0] <= 0.12
    assert 0.12 <= delays[1] <= 0.20
    assert all(MAX_BACKOFF_S * 0.8 <= delay <= MAX_BACKOFF_S * 1.2 for delay in delays[10:])
    assert len(set(delays)) == 30
    backoff.reset()
    assert backoff.next_delay() <= 0.12


def test_custom_bounds() -> None:
    backoff = Backoff(Random(1), 1.0, 3.0)
    delays = [backoff.next_delay() for _ in range(10)]
    assert 0.8 <= delays[0] <= 1.2
    assert all(3.0 * 0.8 <= delay <= 3.0 * 1.2 for delay in delays[4:])
    backoff.reset()
    assert backoff.next_delay() <= 1.2
