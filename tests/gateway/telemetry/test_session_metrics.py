import json
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry

from gateway.request.record import RequestRecord
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.session_metrics import SessionMetrics
from schemas.model.errors import WRAPPER_RAISED, AseError, loader_error_spec
from schemas.model.session import SessionEvent


@dataclass
class FakeSession:
    record: RequestRecord
    error: AseError | None = None


class MetricsFixture:
    """Session metrics, the log lines and the registry."""

    def __init__(self) -> None:
        self.registry, self.lines = CollectorRegistry(), list[str]()
        access_log = AccessLog(self.lines.append, lambda: 0.0)
        self.metrics = SessionMetrics(self.registry, access_log, lambda: 2.0)

    def start(self, error: AseError | None = None) -> FakeSession:
        session = FakeSession(RequestRecord("s" * 32, 1.0), error)
        session.record.service = "talker"
        self.metrics.session_started(session)
        return session

    def ended(self, code: str) -> float | None:
        labels = {"service": "talker", "code": code}
        return self.registry.get_sample_value("ase_sessions_ended_total", labels)


def test_open_sessions_are_a_gauge() -> None:
    fixture = MetricsFixture()
    sessions = [fixture.start() for _ in range(3)]
    fixture.metrics.session_ended(sessions[0], SessionEvent.LAST_RESULT)
    assert fixture.registry.get_sample_value("ase_sessions", {"service": "talker"}) == 2
    assert len(fixture.metrics) == 2


@pytest.mark.parametrize(
    ("error", "event", "code", "label"),
    [
        (None, SessionEvent.LAST_RESULT, 0, "0"),
        (None, SessionEvent.CLIENT_GONE, 499, "499"),
        (AseError(WRAPPER_RAISED), SessionEvent.FAILED, 10908, "10908"),
        (AseError(loader_error_spec(4242), "odd"), SessionEvent.FAILED, 4242, "other"),
    ],
)
def test_ended_session_is_logged_and_counted_by_code(
    error: AseError | None, event: SessionEvent, code: int, label: str
) -> None:
    fixture = MetricsFixture()
    fixture.metrics.session_ended(fixture.start(error), event)
    assert fixture.ended(label) == 1
    (line,) = fixture.lines
    assert (json.loads(line)["status"], json.loads(line)["code"]) == (101, code)


def test_session_whose_response_is_logged_has_no_line_of_its_own() -> None:
    fixture = MetricsFixture()
    fixture.metrics.session_ended(
        fixture.start(), SessionEvent.LAST_RESULT, status=200, write_log=False
    )
    assert fixture.lines == []
    assert fixture.ended("0") == 1


def test_length_first_result_and_frames_of_ended_sessions_are_counted() -> None:
    fixture = MetricsFixture()
    for frames_out in (0, 3):
        session = fixture.start()
        session.record.frames_in, session.record.frames_out = 2, frames_out
        session.record.first_result_at = 1.02 if frames_out else 0.0
        fixture.metrics.session_ended(session, SessionEvent.LAST_RESULT)

    def value(name: str, **labels: str) -> float | None:
        return fixture.registry.get_sample_value(name, {"service": "talker", **labels})

    assert value("ase_session_seconds_count") == 2
    assert value("ase_session_seconds_sum") == 2.0
    assert value("ase_session_first_result_seconds_bucket", le="0.01") == 0
    assert value("ase_session_first_result_seconds_bucket", le="0.025") == 1
    assert value("ase_session_first_result_seconds_count") == 1
    assert value("ase_session_frames_total", direction="in") == 4
    assert value("ase_session_frames_total", direction="out") == 3
