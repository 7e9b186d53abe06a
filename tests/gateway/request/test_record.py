from random import Random

import pytest

from gateway.request.record import RequestIdGenerator, RequestRecord


def test_times_of_a_request_are_split() -> None:
    record = RequestRecord("s" * 32, 1.0, "POST", "/p", "::1")
    record.body_received_at = 2.0
    record.waited_s = 0.5
    record.attempt_started("a:1", 3.0)
    record.attempt_finished(3.25)
    record.attempt_started("b:1", 3.5)
    record.finish(200, 0, 4.0)
    assert (record.attempts, record.instance) == (2, "b:1")
    assert record.upstream_s == 0.75, "both attempts; the second ends with the response"
    assert record.overhead_s == pytest.approx(4.0 - 2.0 - 0.75 - 0.5)


def test_request_that_is_rejected_by_its_head_has_only_overhead() -> None:
    record = RequestRecord("s" * 32, 1.0)
    record.finish(431, 10163, 1.001)
    assert (record.status, record.code, record.attempts) == (431, 10163, 0)
    assert record.overhead_s == pytest.approx(0.001)


def test_overhead_is_never_negative() -> None:
    record = RequestRecord("s" * 32, 1.0)
    record.waited_s = 5.0
    record.finish(503, 10110, 2.0)
    assert record.overhead_s == 0.0


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


def test_units_are_summed_within_bounds() -> None:
    record = RequestRecord("s" * 32, 1.0)
    record.add_units({"tokens": 17})
    record.add_units({"tokens": 3, "x" * 65: 1})
    assert record.units == {"tokens": 20}
    record.add_units({f"unit {n}": 2**53 for n in range(40)})
    assert len(record.units) == 16
    record.add_units({"unit 0": 1, "tokens": 1})
    assert (record.units["unit 0"], record.units["tokens"]) == (2**53, 21)
