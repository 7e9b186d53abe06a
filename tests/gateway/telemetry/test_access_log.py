"""The access log: one JSON object a line, whatever a client or a loader put into it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.request.record import RequestRecord
from gateway.telemetry.access_log import AccessLog, loggable_target

# Names of the line that differ from those of the record.
RECORD_ATTRIBUTES = {"client": "client_ip"}


def write_log_line(code: int = 0, **fields: str) -> tuple[str, dict[str, object]]:
    lines: list[str] = []
    record = RequestRecord(
        "s" * 32, 1.0, fields.pop("method", "POST"), fields.pop("path", "/"), "::1"
    )
    for name, value in fields.items():
        setattr(record, RECORD_ATTRIBUTES.get(name, name), value)
    record.finish(200, code, 2.0)
    AccessLog(lines.append, lambda: 0.0).write(record)
    (line,) = lines
    return line, json.loads(line)


FORGED_PATH = '/v1/private/a", "status": 200, "level": "error", "x": "'


@pytest.mark.parametrize("code", [0, 10163])
def test_quotes_in_a_path_cannot_inject_fields(code: int) -> None:
    line, fields = write_log_line(code, path=FORGED_PATH)
    assert fields["path"] == FORGED_PATH
    assert (fields["level"], "x" in fields) == ("info", False)
    assert line.count("\n") == 0


@given(
    code=st.sampled_from([0, 10163]),
    texts=st.fixed_dictionaries({
        name: st.text(max_size=40) for name in ("method", "path", "client", "service", "instance")
    }),
)  # fmt: skip
def test_fields_round_trip(code: int, texts: dict[str, str]) -> None:
    line, fields = write_log_line(code, **texts)
    assert {name: fields[name] for name in texts} == texts
    assert line.isascii()
    assert line.isprintable()


def test_a_good_and_a_bad_request_have_the_same_fields_in_the_same_order() -> None:
    assert list(write_log_line(0)[1]) == list(write_log_line(10163)[1])


@pytest.mark.parametrize("code", [0, 10163])
def test_a_path_is_bounded(code: int) -> None:
    assert len(str(write_log_line(code, path="/" + "a" * 8000)[1]["path"])) == 256


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/a?token=1", "/a"),
        (b"/a@b", "/a@b"),
        (b"http://user:secret@host:80/a@b?c", "http://host:80/a@b"),
        (b"http://user:secret@host", "http://host"),
        (b"user:secret@host:80", "host:80"),
        (b"a://b://user:p@host/", "a://b://host/"),
        (b"*", "*"),
        (b"/\xff\n", "/\\xff\n"),
        (b"", ""),
    ],
)
def test_a_refused_target_is_logged_without_query_and_user(target: bytes, path: str) -> None:
    assert loggable_target(target) == path


@pytest.mark.parametrize(
    ("status", "code", "seconds", "explained"),
    [
        (200, 0, 0.5, False),
        (200, 0, 2.0, True),  # slow
        (502, 10222, 0.1, True),
        (503, 20002, 0.1, True),
        (400, 10163, 0.1, False),  # the caller's fault
        (429, 11201, 0.1, False),
        (499, 499, 0.1, False),
    ],
)
def test_failed_and_slow_requests_are_explained(
    status: int, code: int, seconds: float, explained: bool
) -> None:
    records: list[RequestRecord] = []
    log = AccessLog(lambda _: None, lambda: 0.0, explain=records.append, slow=1.0)
    record = RequestRecord("s" * 32, 1.0)
    record.finish(status, code, 1.0 + seconds)
    log.write(record)
    assert records == [record] * explained


@pytest.mark.parametrize("has_failed", [False, True])
def test_sessions_are_explained_if_they_fail_however_long_they_last(has_failed: bool) -> None:
    records: list[RequestRecord] = []
    log = AccessLog(lambda _: None, lambda: 0.0, explain=records.append, slow=1.0)
    record = RequestRecord("s" * 32, 1.0)
    record.finish(101, 10908 if has_failed else 0, 99.0)
    log.write(record, is_session=True, has_failed=has_failed)
    assert records == [record] * has_failed
