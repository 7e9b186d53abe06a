"""Ids: 32 hex digits each, none given twice."""

from random import Random

from gateway.request.ids import RequestIdGenerator


def test_ids_are_unique_slices_of_random_hex() -> None:
    rng, requested_sizes = Random(1), []

    def entropy(size: int) -> str:
        requested_sizes.append(size)
        return rng.randbytes(size).hex()

    generator = RequestIdGenerator(entropy)
    request_ids = [generator() for _ in range(1000)]
    assert len(set(request_ids)) == 1000
    assert all(
        len(request_id) == 32 and set(request_id) <= set("0123456789abcdef")
        for request_id in request_ids
    )
    assert requested_sizes == [4096] * 4
