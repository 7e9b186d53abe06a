"""Pauses grow to a most, with jitter, and a success ends them."""

from random import Random

from rpc.backoff import MOST_S, Backoff


def test_pauses() -> None:
    backoff = Backoff(Random(1))
    pauses = [backoff.failed() for _ in range(30)]
    assert 0.08 <= pauses[0] <= 0.12
    assert 0.12 <= pauses[1] <= 0.20
    assert all(MOST_S * 0.8 <= pause <= MOST_S * 1.2 for pause in pauses[10:])
    assert len(set(pauses)) == 30
    backoff.worked()
    assert backoff.failed() <= 0.12
