"""The texts of a finished request, in Python."""

import json

import pytest

from gateway.request.record_lines import format_ms, log_line, response_lines, success_body


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.000"), (0.0000004, "0.000"), (0.0000005, "0.001"), (0.75, "750.000"),
     (0.0012345, "1.235"), (3600.0, "3600000.000"), (-1.0, "0.000"), (float("nan"), "0.000"),
     (float("inf"), "1000000000000.000")],
)  # fmt: skip
def test_times_in_milliseconds(seconds: float, text: str) -> None:
    assert format_ms(seconds) == text


def test_a_log_line_is_json() -> None:
    line = log_line(
        '{"time": 1, ',
        "s1",
        '"method": "POST"',
        '"a:1"',
        200,
        0,
        2,
        0.5,
        0.25,
        0.125,
        ', "wait_ms": 3.000',
    )
    assert json.loads(line) == {
        "time": 1, "sid": "s1", "method": "POST", "instance": "a:1", "status": 200, "code": 0,
        "attempts": 2, "total_ms": 500.0, "upstream_ms": 250.0, "overhead_ms": 125.0,
        "wait_ms": 3.0,
    }  # fmt: skip


def test_lines_of_a_response() -> None:
    lines = response_lines("text/plain", 12, "s1", 0.001, 0.002, 1, "x-a: b\r\n", "a:1")
    assert lines == (
        b"content-type: text/plain\r\ncontent-length: 12\r\nx-ase-request-id: s1\r\n"
        b"x-ase-overhead-ms: 1.000\r\nx-ase-upstream-ms: 2.000\r\nx-ase-attempts: 1\r\n"
        b"x-a: b\r\nx-ase-instance: a:1\r\n"
    )
    assert b"instance" not in response_lines("text/plain", 12, "s1", 0.0, 0.0, 0, "", "")


def test_the_envelope_of_a_result() -> None:
    header = {"code": 0, "message": "success", "sid": "s1"}
    assert json.loads(success_body("s1", b'{"a":1}')) == {"header": header, "payload": {"a": 1}}
    assert json.loads(success_body("s1", b"{}")) == {"header": header}
