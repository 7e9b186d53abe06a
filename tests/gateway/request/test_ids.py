"""Ids: 32 hex digits each, none given twice."""

from random import Random

from gateway.request.ids import RequestIdGenerator


def test_ids_are_cut_from_what_is_random() -> None:
    rng, asked = Random(1), []

    def entropy(size: int) -> str:
        asked.append(size)
        return rng.randbytes(size).hex()

    ids = RequestIdGenerator(entropy)
    told = [ids() for _ in range(1000)]
    assert len(set(told)) == 1000
    assert all(len(one) == 32 and set(one) <= set("0123456789abcdef") for one in told)
    assert asked == [4096] * 4
