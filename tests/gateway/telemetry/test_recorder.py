"""A recording has what ended and what changed, while somebody reads it."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from config.options import LbOptions
from gateway.request.record import RequestRecord
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.recorder import Recorder
from lb.endpoints.lifecycle import EndpointEvent
from lb.endpoints.report import Instance, Load, Report, ServingState
from lb.endpoints.table import EndpointTable
from schemas.model.errors import LOADER_FULL, NO_SERVICE

INSTANCE = Instance("ase", "ocr", "a:1", 7, total=4, best=2)


class Fixture:
    """A recorder of a table and a log whose clock stands still, and what a reader of it got."""

    def __init__(self) -> None:
        self.now = 50.0
        self.is_stopping = False
        self.during: list[Callable[[], None]] = []
        self.table = EndpointTable("g", silence_timeout=None)
        self.log = AccessLog(lambda _: None, lambda: 0.0)
        self.recorder = Recorder(
            "g",
            LbOptions(),
            endpoints=self.table,
            clock=lambda: self.now,
            wall_clock=lambda: 1000.0,
            is_stopping=lambda: self.is_stopping,
            sleep=self.sleep,
        )
        self.recorder.attach(self.log)

    def report(self, seq: int, **load_fields: Any) -> None:
        self.table.apply(Report(INSTANCE, Load(seq, **load_fields)), self.now)

    def end_request(self, *, code: int = 0, calls: int = 1) -> None:
        record = RequestRecord("1" * 32, 48.0, "POST", "/v1/ocr", "")
        record.service, record.app_id, record.affinity_key = "ocr", "a company", "a user"
        record.body_received_at, record.waited_s = 48.5, 0.25
        for number in range(calls):
            record.attempt_started("a:1", 48.75 + number)
            record.attempt_finished(49.0 + number)
        record.finish(200 if not code else 503, code, 49.5)
        self.log.write(record)

    async def sleep(self, seconds: float) -> None:
        """Let the time pass in which a piece is read; `during` happens meanwhile."""
        self.now += seconds
        if self.during:
            self.during.pop(0)()

    def read(self, *during: Callable[[], None], seconds: float = 60.0) -> list[dict[str, Any]]:
        """Return the lines of a recording in which these things happen, one in each tick."""
        self.during = [*during, self.stop]
        return asyncio.run(self._read(seconds))

    def stop(self) -> None:
        self.is_stopping = True

    async def _read(self, seconds: float) -> list[dict[str, Any]]:
        pieces = [piece async for piece in self.recorder.record(seconds)]
        return [json.loads(line) for line in b"".join(pieces).splitlines() if line]


def test_request_is_recorded_with_its_latest_call() -> None:
    fixture = Fixture()
    lines = fixture.read(lambda: fixture.end_request(calls=2))
    assert [line["kind"] for line in lines] == ["start", "request", "end"]
    assert lines[0]["at"] == 1000.0, "50 s of the clock"
    request = lines[1]
    assert (request["called_at"], request["call_s"]) == (999.75, 0.25)
    assert (request["at"], request["waited_s"]) == (999.25, 0.25), "the first call took 0.25 s"
    assert (request["attempts"], request["status"], request["is_session"]) == (2, 200, False)
    assert "a company" not in str(lines)
    assert len(request["app"]) == len(request["key"]) == 12


def test_request_that_got_no_slot_is_recorded_and_one_without_a_service_is_not() -> None:
    fixture = Fixture()
    lines = fixture.read(
        lambda: fixture.end_request(code=LOADER_FULL.code, calls=0),
        lambda: fixture.end_request(code=NO_SERVICE.code, calls=0),
    )
    requests = [line for line in lines if line["kind"] == "request"]
    assert [(line["attempts"], line["at"]) for line in requests] == [(0, 998.5)]


def test_nothing_is_recorded_before_and_after() -> None:
    fixture = Fixture()
    fixture.end_request()
    assert fixture.log.on_end is None
    assert len(fixture.read(fixture.end_request)) == 3
    assert fixture.log.on_end is None
    fixture.is_stopping = False
    assert len(fixture.read()) == 2


def test_reader_of_a_quiet_gateway_gets_a_blank_line_each_second() -> None:
    fixture = Fixture()

    async def pieces() -> list[bytes]:
        return [piece async for piece in fixture.recorder.record(5.0)]

    fixture.during = [lambda: None] * 1000
    blank = [piece for piece in asyncio.run(pieces()) if piece == b"\n"]
    assert 3 <= len(blank) <= 5


def test_a_few_recordings_are_read_at_a_time() -> None:
    fixture = Fixture()

    async def count() -> list[int]:
        recordings = [fixture.recorder.record(60.0) for _ in range(6)]
        firsts = [await anext(recording, b"") for recording in recordings]
        for recording in recordings:
            await recording.aclose()  # type: ignore[attr-defined]
        return [len(first.splitlines()) for first in firsts]

    fixture.during = [lambda: None] * 1000
    assert asyncio.run(count()) == [1, 1, 1, 1, 0, 0]
    assert fixture.log.on_end is None


def test_recording_ends_after_its_seconds() -> None:
    fixture = Fixture()
    lines = fixture.read(*[lambda: None] * 100, seconds=1.0)
    assert lines[-1]["kind"] == "end"
    assert lines[-1]["at"] == pytest.approx(1001.0, abs=0.2)
    assert not fixture.is_stopping


def test_state_of_an_instance_is_recorded_at_once_and_its_figures_once_a_second() -> None:
    fixture = Fixture()
    fixture.report(1, service_ms=20.0, served=3)
    changes: list[Callable[[], None]] = [
        lambda: fixture.report(2, running=1),
        lambda: fixture.report(3, running=2),
        lambda: fixture.report(4, serving_state=ServingState.DRAINING),
        *[lambda: None] * 10,
        lambda: fixture.report(5, serving_state=ServingState.DRAINING, running=1),
        lambda: fixture.table.remove(INSTANCE.key, 7, EndpointEvent.REPORTED_DOWN) and None,
    ]
    lines = [line for line in fixture.read(*changes) if line["kind"] == "instance"]
    assert [(line["state"], line["running"]) for line in lines] == [
        ("up", 0),
        ("draining", 0),
        ("draining", 1),
        ("gone", 0),
    ]
    assert lines[0]["service_ms"] == 20.0
    assert (lines[0]["total"], lines[0]["best"], lines[0]["epoch"]) == (4, 2, 7)


@pytest.mark.unmeasured
def test_reader_that_does_not_read_loses_requests_and_is_told() -> None:
    fixture = Fixture()

    def flood() -> None:
        for _ in range(100_100):
            fixture.end_request()

    lines = fixture.read(flood)
    assert lines[-1] == {"kind": "end", "gateway": "g", "at": lines[-1]["at"], "lost": 100}
    assert len(lines) == 2 + 100_000
