"""Which requests are traced, and what is kept of them."""

import itertools
from random import Random

import pytest

from gateway.request.record import RequestRecord
from gateway.request.traces import Tracer
from gateway.request.tracing import NO_TRACING

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"


class Fixture:
    """A tracer with a clock and a die of the test's own."""

    def __init__(self, sample: float = 0.5, rate: float = 1000.0) -> None:
        self.now, self.die = 100.0, 0.9
        ids = itertools.count(1)
        self.tracer = Tracer(
            sample, rate, new_id=lambda: f"{next(ids):032x}"[::-1],
            random=lambda: self.die, clock=lambda: self.now,
        )  # fmt: skip

    def is_traced(self, **tracing: str) -> bool:
        return self.tracer.begin(tracing) is not None


def test_caller_decides_by_its_flag() -> None:
    fixture = Fixture(sample=1.0)
    trace = fixture.tracer.begin({"traceparent": PARENT + "1", "tracestate": "a=b"})
    assert trace is not None
    assert trace.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert (trace.parent_id, trace.tracestate) == ("b7ad6b7169203331", "a=b")
    assert trace.traceparent() == f"00-{trace.trace_id}-{trace.span_id}-01"
    assert not fixture.is_traced(traceparent=PARENT + "0")
    assert fixture.is_traced(traceparent=PARENT + "3"), "other flags are those of later versions"


@pytest.mark.parametrize("sample", [0.0, 1e-18, 0.01, 0.25, 1.0])
def test_share_of_the_other_requests_is_traced(sample: float) -> None:
    ids, rng, count = itertools.count(1), Random(7), 40_000
    tracer = Tracer(
        sample, 1e9, new_id=lambda: f"{next(ids):032x}", random=rng.random, clock=lambda: 0.0
    )
    traced = sum(
        tracer.begin({"x-request-id": "7"} if number % 2 else NO_TRACING) is not None
        for number in range(count)
    )
    assert traced == pytest.approx(sample * count, rel=0.1, abs=0.5)


def test_no_caller_makes_it_trace_more_than_so_many_a_second() -> None:
    fixture = Fixture(rate=2.0)
    traced = [fixture.is_traced(traceparent=PARENT + "1") for _ in range(4)]
    assert traced == [True, True, False, False]
    fixture.now += 0.5
    assert [fixture.is_traced(traceparent=PARENT + "1") for _ in range(2)] == [True, False]
    fixture.now += 60.0
    assert sum(fixture.is_traced(traceparent=PARENT + "1") for _ in range(9)) == 2


def test_loader_gets_the_span_of_the_gateway_as_its_parent() -> None:
    fixture = Fixture(sample=1.0)
    shared = {"traceparent": PARENT + "1", "x-request-id": "7"}
    record = RequestRecord("s", 1.0)
    record.tracing = shared
    record.begin_trace(fixture.tracer)
    assert record.trace is not None
    assert record.tracing == {
        "traceparent": f"00-0af7651916cd43dd8448eb211c80319c-{record.trace.span_id}-01",
        "x-request-id": "7",
    }
    assert shared["traceparent"] == PARENT + "1", "the headers of a connection are shared"
    untraced = RequestRecord("s", 1.0)
    untraced.tracing = {"traceparent": PARENT + "0"}
    untraced.begin_trace(fixture.tracer)
    assert untraced.tracing == {"traceparent": PARENT + "0"}


def test_calls_are_phases_with_their_instance_and_error() -> None:
    record = RequestRecord("s", 1.0)
    record.begin_trace(Fixture(sample=1.0).tracer)
    trace = record.trace
    assert trace is not None
    for address, error in (("a:1", "unreachable"), ("b:2", "")):
        record.attempt_started(address, 2.0)
        record.attempt_finished(3.0)
        record.note_attempt(error, 1.0, 1.0)
    assert [(p.name, p.instance, p.error_name, p.start, p.end) for p in trace.phases] == [
        ("call", "a:1", "unreachable", 2.0, 3.0),
        ("call", "b:2", "", 2.0, 3.0),
    ]
