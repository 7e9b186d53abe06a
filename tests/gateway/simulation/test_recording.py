"""A recording is text that can be put together, cut and checked."""

import json
from dataclasses import replace

import pytest

from gateway.simulation.recording import (
    InvalidRecordingError,
    RecordedInstance,
    RecordedRequest,
    RecordingEnd,
    RecordingStart,
    digest,
    encode_line,
    encode_request,
    merge_recordings,
    read_recording,
)

START = RecordingStart("g1", 100.0, 1, "ours", 2.5, 256, 10.0)
INSTANCE = RecordedInstance(
    "g1", 100.1, "ocr", "10.0.0.1:9000", 2**63, "ON_CHANGE", 8, 4, 1, "up", 2, 0, 20.5, 17
)
REQUEST = RecordedRequest(
    "g1", 100.25, "ocr", "10.0.0.1:9000", 100.5, 0.03125, 0.25, 200, 0, 1, digest("app"), "", False
)
END = RecordingEnd("g1", 160.0, 0)


def text(*lines: RecordingStart | RecordedInstance | RecordedRequest | RecordingEnd) -> list[str]:
    return [encode_line(line) + "\n" for line in lines]


def test_what_is_written_is_read() -> None:
    recording = read_recording(text(REQUEST, END, INSTANCE, START), "a.rec")
    assert recording.requests == [REQUEST]
    assert recording.instances == [INSTANCE]
    assert recording.starts == {"g1": START}
    assert recording.ends == {"g1": END}
    assert recording.is_complete()


def test_request_line_is_that_of_the_slow_encoder() -> None:
    odd = RecordedRequest(
        'g"1', 1.5, "ocr\n", "[::1]:9", 2.25, 0.5, 0.75, 503, 10110, 0, "0a", "0b", True
    )
    for request in (REQUEST, odd):
        assert json.loads(encode_request(request)) == json.loads(encode_line(request))


def test_names_of_applications_and_keys_are_not_in_it() -> None:
    assert digest("a company") == digest("a company") != digest("another")
    assert len(digest("a company")) == 12
    assert digest("") == ""


def test_recordings_of_gateways_are_put_together_in_the_order_of_time() -> None:
    second = [line.replace('"g1"', '"g2"').replace("100.25", "100.125") for line in text(REQUEST)]
    start = [line.replace('"g1"', '"g2"') for line in text(START)]
    recording = read_recording([*text(START, REQUEST), *start, *second], "a.rec")
    assert [request.gateway for request in recording.requests] == ["g2", "g1"]
    assert not recording.is_complete()


def test_last_line_may_be_cut() -> None:
    lines = text(START, REQUEST, REQUEST)
    lines[-1] = lines[-1][:50]
    recording = read_recording(lines, "a.rec")
    assert len(recording.requests) == 1
    assert not recording.is_complete()


def test_line_that_is_too_long_is_no_cut_one() -> None:
    lines = [*text(START), encode_line(REQUEST) + " " * 70_000, *text(REQUEST)]
    with pytest.raises(InvalidRecordingError, match=r"a\.rec:2: no line of a recording"):
        read_recording(lines, "a.rec")


def test_lost_requests_are_counted() -> None:
    assert read_recording(text(START, RecordingEnd("g1", 160.0, 7)), "a.rec").lost() == 7


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{}", "no line of a recording"),
        ("[" * 100_000, "no line of a recording"),
        ('{"kind": []}', "no line of a recording"),
        (encode_line(REQUEST).replace("0.03125", "1" + "0" * 400), "`call_s` must be a number"),
        (encode_line(REQUEST).replace("0.03125", "2e5"), "`call_s` must be in 0 to 172800"),
        ('{"kind": "request"}', "request: `gateway` is missing"),
        (encode_line(REQUEST).replace("0.03125", '"x"'), "`call_s` must be a number, not 'x'"),
        (encode_line(REQUEST).replace("0.03125", "-1"), "`call_s` must be in 0 to 172800, not -1"),
        (
            encode_line(REQUEST).replace("0.03125", "NaN"),
            "`call_s` must be in 0 to 172800, not nan",
        ),
        (encode_line(REQUEST).replace("false", "0"), "`is_session` must be true or false, not 0"),
        (encode_line(INSTANCE).replace('"best": 4', '"best": 0'), "`best` must be in 1 to 1e+06"),
        (encode_line(INSTANCE).replace("ON_CHANGE", "X"), "ON_CHANGE, PERIODIC, NONE, not 'X'"),
        (encode_line(START).replace("ours", "best"), "start: `policy` must be one of ours, least"),
        (encode_line(START).replace('"version": 1', '"version": 2'), "`version` must be in 1 to 1"),
    ],
)
def test_wrong_lines_are_named(line: str, message: str) -> None:
    with pytest.raises(InvalidRecordingError) as caught:
        read_recording([*text(START), line + "\n", *text(END)], "a.rec")
    assert message in str(caught.value)
    assert str(caught.value).startswith("a.rec:2: ")


def test_lines_without_a_start_are_refused() -> None:
    with pytest.raises(InvalidRecordingError, match="no line has the kind start"):
        read_recording(text(REQUEST), "a.rec")
    other = [line.replace('"g1"', '"g2"') for line in text(REQUEST)]
    with pytest.raises(InvalidRecordingError, match="lines of the gateway 'g2', and not its start"):
        read_recording([*text(START), *other], "a.rec")


def test_blank_lines_are_those_of_a_quiet_gateway() -> None:
    assert read_recording([*text(START), "\n", *text(REQUEST)], "a.rec").requests == [REQUEST]


def test_requests_from_before_the_start_are_left_out() -> None:
    early = replace(REQUEST, at=99.0)
    assert read_recording(text(START, early, REQUEST), "a.rec").requests == [REQUEST]


def test_requests_that_no_loader_took_have_not_run() -> None:
    assert REQUEST.has_run()
    assert not replace(REQUEST, code=10110, status=503).has_run(), "a full loader rejected it"
    assert not replace(REQUEST, attempts=0).has_run()
    assert replace(REQUEST, code=10222, status=503).has_run()


def test_recordings_of_different_times_are_refused() -> None:
    other = replace(START, gateway="g2", at=1000.0)
    recordings = [read_recording(text(*lines), "a.rec") for lines in ([START, END], [other])]
    with pytest.raises(InvalidRecordingError, match="different times"):
        merge_recordings(recordings)
    with pytest.raises(InvalidRecordingError, match=r"a\.rec: .* more than 48 hours"):
        read_recording(text(START, replace(REQUEST, at=1e6)), "a.rec")


def test_gateway_that_is_recorded_twice_is_refused() -> None:
    with pytest.raises(InvalidRecordingError, match=r"a\.rec: the gateway g1 begins twice"):
        read_recording(text(START, START), "a.rec")
    first, second = (read_recording(text(START, REQUEST), name) for name in "ab")
    with pytest.raises(InvalidRecordingError, match="g1 is in two of the recordings"):
        merge_recordings([first, second])


def test_unknown_members_are_of_a_later_version() -> None:
    line = encode_line(REQUEST).replace("{", '{"new": 1, ', 1) + "\n"
    assert read_recording([*text(START), line], "a.rec").requests == [REQUEST]
