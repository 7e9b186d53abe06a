"""Pauses grow to a most, with jitter, and a success ends them."""

from random import Random

from rpc.backoff import MAX_BACKOFF_S, Backoff


def test_pauses() -> None:
    backoff = Backoff(Random(1))
    pauses = [backoff.next_delay() for _ in range(30)]
    assert 0.08 <= pauses[0] <= 0.12
    assert 0.12 <= pauses[1] <= 0.20
    assert all(MAX_BACKOFF_S * 0.8 <= pause <= MAX_BACKOFF_S * 1.2 for pause in pauses[10:])
    assert len(set(pauses)) == 30
    backoff.reset()
    assert backoff.next_delay() <= 0.12


def test_other_bounds() -> None:
    backoff = Backoff(Random(1), 1.0, 3.0)
    pauses = [backoff.next_delay() for _ in range(10)]
    assert 0.8 <= pauses[0] <= 1.2
    assert all(3.0 * 0.8 <= pause <= 3.0 * 1.2 for pause in pauses[4:])
    backoff.reset()
    assert backoff.next_delay() <= 1.2
