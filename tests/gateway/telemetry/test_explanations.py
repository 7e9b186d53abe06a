"""Which requests are explained, and for how long."""

from collections.abc import Collection
from typing import Any

import pytest

from gateway.request.record import RequestRecord
from gateway.telemetry.explanations import Explanations


class Clock:
    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


def finished_record(sid: str = "a" * 32, code: int = 10222, status: int = 502) -> RequestRecord:
    record = RequestRecord(sid, 1.0, "POST", "/v1/ocr", "10.1.1.1")
    record.service, record.error_name, record.detail = "ocr", "unreachable", "reset"
    record.body_received_at = 1.25
    for instance, seconds in (("a:1", 0.5), ("b:1", 0.25)):
        record.attempt_started(instance, 2.0)
        record.attempt_finished(2.0 + seconds)
        record.note_attempt("unreachable", 10.0, -1.0)
    record.finish(status, code, 3.0)
    return record


def make(size: int = 3) -> tuple[Explanations, Clock]:
    clock = Clock()
    rows = [{"instance": "a:1", "verdict": "full"}]

    def find_candidates(service: str, called: Collection[str]) -> list[dict[str, Any]]:
        assert (service, called) == ("ocr", {"a:1", "b:1"})
        return rows

    return Explanations(size, find_candidates, clock, lambda: 86400.0), clock


def test_explanation_has_phases_attempts_and_candidates() -> None:
    explanations, _ = make()
    explanations.add(finished_record())
    explanation = explanations.find("a" * 32)
    assert explanation is not None
    assert explanation["ended"] == "1970-01-02T00:00:00.000+00:00"
    assert (explanation["status"], explanation["code"]) == (502, 10222)
    assert explanation["phases_ms"] == {
        "body": 250.0, "wait": 0.0, "upstream": 750.0, "gateway": 1000.0, "total": 2000.0
    }  # fmt: skip
    assert [(a["instance"], a["took_ms"]) for a in explanation["attempts"]] == [
        ("a:1", 500.0), ("b:1", 250.0)
    ]  # fmt: skip
    assert explanation["attempts"][0]["report_age_ms"] is None
    assert explanation["candidates"] == [{"instance": "a:1", "verdict": "full"}]


def test_latest_are_kept_and_listed_first() -> None:
    explanations, _ = make(size=3)
    for number in range(5):
        explanations.add(finished_record(f"{number:032x}"))
    assert [entry["sid"][-1] for entry in explanations.latest()] == ["4", "3", "2"]
    assert "candidates" not in explanations.latest()[0]
    assert explanations.find(f"{1:032x}") is None


def test_twenty_a_second_are_explained() -> None:
    explanations, clock = make(size=100)
    for number in range(30):
        explanations.add(finished_record(f"{number:032x}"))
    assert (len(explanations.latest()), explanations.skipped) == (20, 10)
    clock.now += 1.0
    explanations.add(finished_record("f" * 32))
    assert explanations.find("f" * 32) is not None


@pytest.mark.parametrize("size", [0])
def test_none_are_kept_if_the_option_is_0(size: int) -> None:
    explanations, _ = make(size)
    explanations.add(finished_record())
    assert (explanations.latest(), explanations.skipped) == ([], 0)


def test_request_without_a_service_has_no_candidates() -> None:
    explanations, _ = make()
    record = RequestRecord("b" * 32, 1.0)
    record.finish(500, 11502, 2.0)
    explanations.add(record)
    explanation = explanations.find("b" * 32)
    assert explanation is not None
    assert (explanation["candidates"], explanation["phases_ms"]["body"]) == ([], 0.0)
