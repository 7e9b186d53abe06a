"""The works of requests and the speeds of loaders are found again in what was recorded."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest

from gateway.simulation.fleet import (
    Fleet,
    UnreplayableError,
    estimate_fleet,
    geometric_mean,
    slot_durations,
)
from gateway.simulation.recording import (
    RecordedInstance,
    RecordedRequest,
    Recording,
    RecordingStart,
)


def recorded_instance(addr: str, at: float = 0.0, **changes: object) -> RecordedInstance:
    fields: dict[str, object] = {
        "epoch": 7, "report_mode": "ON_CHANGE", "total": 4, "best": 2, "max_batch": 1,
        "state": "up", "running": 0, "queued": 0, "service_ms": 0.0, "served": 0,
    }  # fmt: skip
    return RecordedInstance("g", at, "ocr", addr, **(fields | changes))  # type: ignore[arg-type]


def recorded_request(
    addr: str, called_at: float, call_s: float, service: str = "ocr"
) -> RecordedRequest:
    attempts = 1 if addr else 0
    return RecordedRequest(
        "g", called_at, service, addr, called_at, call_s, 0.0, 200, 0, attempts, "", "", False
    )


def estimate(instances: Sequence[RecordedInstance], requests: Sequence[RecordedRequest]) -> Fleet:
    start = RecordingStart("g", 0.0, 1, "ours", 2.5, 256, 10.0)
    recording = Recording({"g": start}, list(instances), list(requests))
    return estimate_fleet(recording, Random(1))


def test_time_in_the_queue_is_no_work() -> None:
    # Two slots: c and d wait for a and b, e comes when both are free.
    spans = [(0.0, 1.0), (0.0, 2.0), (0.1, 2.0), (0.2, 2.5), (3.0, 3.5)]
    assert slot_durations(spans, 2) == pytest.approx([1.0, 2.0, 1.0, 0.5, 0.5])
    assert slot_durations(spans[::-1], 2) == pytest.approx([0.5, 0.5, 1.0, 2.0, 1.0])


def test_end_out_of_order_frees_its_slot() -> None:
    spans = [(0.0, 9.0), (0.0, 1.0), (0.5, 2.0), (0.6, 4.0)]
    assert slot_durations(spans, 2) == pytest.approx([9.0, 1.0, 1.0, 2.0])


def test_speeds_are_relative_to_the_service() -> None:
    requests = [recorded_request("fast:1", n, 0.1) for n in range(40)]
    requests += [recorded_request("slow:1", n, 0.4) for n in range(40)]
    fleet = estimate([recorded_instance("fast:1"), recorded_instance("slow:1")], requests)
    speeds = {loader.model.addr: loader.model.speed for loader in fleet.loaders}
    assert speeds["fast:1"] == pytest.approx(4 * speeds["slow:1"])
    assert fleet.works == pytest.approx([0.2] * 80), "the same work took them longer or shorter"


def test_few_requests_say_nothing_of_speed() -> None:
    requests = [recorded_request("fast:1", n, 0.1) for n in range(40)]
    requests += [recorded_request("slow:1", 100.0 + n, 0.4) for n in range(3)]
    fleet = estimate([recorded_instance("fast:1"), recorded_instance("slow:1")], requests)
    assert {loader.model.addr: loader.model.speed for loader in fleet.loaders}["slow:1"] == 1.0


def test_what_a_call_takes_beyond_the_service_time_is_overhead() -> None:
    requests = [recorded_request("a:1", n, 0.11) for n in range(40)]
    fleet = estimate([recorded_instance("a:1", service_ms=100.0)], requests)
    assert fleet.loaders[0].model.overhead_s == pytest.approx(0.01, rel=0.01)
    assert fleet.works == pytest.approx([0.1] * 40, rel=0.01)


def test_request_without_a_loader_gets_the_work_of_another() -> None:
    requests = [recorded_request("a:1", 0.0, 0.5), recorded_request("", 9.0, 0.0)]
    requests.append(recorded_request("", 9.0, 0.0, service="asr"))
    fleet = estimate([recorded_instance("a:1")], requests)
    assert fleet.works == [0.5, 0.5, None]
    assert fleet.notes() == ["1 requests are left out: no request of their service ran"]


def test_request_that_a_full_loader_rejected_is_no_work_of_it() -> None:
    requests = [recorded_request("a:1", n, 0.1) for n in range(40)]
    requests += [replace(recorded_request("a:1", n + 0.5, 0.001), code=10110) for n in range(40)]
    assert estimate([recorded_instance("a:1")], requests).works == pytest.approx([0.1] * 80)


def test_sessions_say_nothing_of_speed_and_last_as_long_anywhere() -> None:
    requests = [replace(recorded_request("a:1", n, 60.0), is_session=True) for n in range(40)]
    requests += [replace(recorded_request("b:1", n, 5.0), is_session=True) for n in range(40)]
    instances = [recorded_instance(addr, best=99, total=99) for addr in ("a:1", "b:1")]
    fleet = estimate(instances, requests)
    assert [loader.model.speed for loader in fleet.loaders] == [1.0, 1.0]
    assert fleet.works == pytest.approx([60.0] * 40 + [5.0] * 40)


def test_loader_that_was_away_is_noted() -> None:
    states = ((1.0, "up"), (5.0, "gone"), (6.0, "up"))
    away = [recorded_instance("a:1", at=at, state=state) for at, state in states]
    restarted = [recorded_instance("b:1", at=at, epoch=int(at)) for at in (1.0, 2.0)]
    notes = estimate([*away, *restarted, recorded_instance("c:1")], []).notes()
    assert [note.split()[0] for note in notes] == ["a:1", "b:1"]


def test_requests_of_gateways_that_did_not_record_are_noticed() -> None:
    instances = [recorded_instance("a:1"), recorded_instance("a:1", at=100.0, served=80)]
    fleet = estimate(instances, [recorded_request("a:1", n, 0.1) for n in range(40)])
    assert fleet.loaders[0].foreign_share == pytest.approx(0.5)
    assert "a:1 also served requests of others, 50%" in fleet.notes()[0]


def test_loader_that_leaves_is_gone_from_then_on() -> None:
    states = ((1.0, "up"), (5.0, "draining"), (6.0, "gone"))
    instances = [recorded_instance("a:1", at=at, state=state) for at, state in states]
    fleet = estimate([*instances, recorded_instance("b:1", at=2.0)], [])
    assert [(loader.joins_at, loader.leaves_at) for loader in fleet.loaders] == [
        (1.0, 5.0),
        (2.0, None),
    ]


def test_loaders_of_batches_are_refused() -> None:
    with pytest.raises(UnreplayableError, match="a:1 of ocr runs requests in batches of up to 8"):
        estimate([recorded_instance("a:1", max_batch=8)], [])


def test_geometric_mean() -> None:
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2.0)
