"""`asectl replay` says what would have been, and what it doubts; wrong input is named."""

import json
from pathlib import Path

import pytest

from gateway.simulation.recording import (
    RecordedInstance,
    RecordedRequest,
    RecordingEnd,
    RecordingStart,
    encode_line,
)
from tests.harness import run_asectl


def write_recording(
    path: Path,
    gateway: str = "g1",
    max_batch: int = 1,
    *,
    has_end: bool = True,
    gap: float = 0.05,
    delay: float = 0.0,
) -> None:
    """Write 200 requests of 100 ms at two instances with one slot each.

    Each is sent `delay` seconds after it could have been.
    """
    lines = [encode_line(RecordingStart(gateway, 100.0, 1, "ours", 2.0, 256, 0.0))]
    lines += [
        encode_line(
            RecordedInstance(
                gateway, 100.0, "ocr", addr, 7, "ON_CHANGE", 2, 1, max_batch, "up", 0, 0, 100.0, 50
            )
        )
        for addr in ("a:1", "b:1")
    ]
    for number in range(200):
        at = 100.0 + number * gap
        addr = "ab"[number % 2] + ":1"
        request = RecordedRequest(
            gateway, at, "ocr", addr, at + delay, 0.1, 0.0, 200, 0, 1, "", "", is_session=False
        )
        lines.append(encode_line(request))
    if has_end:
        lines.append(encode_line(RecordingEnd(gateway, 130.0, 0)))
    path.write_text("\n".join(lines) + "\n")


def test_table_has_what_was_recorded_replayed_and_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    write_recording(path)
    result = run_asectl("replay", str(path), "--without", "b:1", "--rate", "x0.25")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["recorded", "replayed", "changed"]
    assert "requests                 200       200       200" in lines
    assert "at b:1                   100       100       0" in lines
    assert "changed: without b:1, arrivals x0.25" in lines
    assert not [line for line in lines if line.startswith("note")]


def test_fleet_that_is_too_small_fails_requests(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    write_recording(path)
    result = run_asectl("replay", str(path), "--without", "b:1", "-o", "json")
    changed = json.loads(result.stdout)["changed"]
    assert changed["no_slot"] > 50, "20 requests/s, and one instance serves 10"
    result = run_asectl("replay", str(path), "--without", "b:1", "--add", "1", "-o", "json")
    changed = json.loads(result.stdout)["changed"]
    assert changed["no_slot"] == 0
    assert changed["by_instance"]["added-1:1"] == pytest.approx(100, abs=20)


def test_recordings_of_two_gateways_are_one_traffic(tmp_path: Path) -> None:
    first, second = tmp_path / "a.rec", tmp_path / "b.rec"
    write_recording(first, "g1", gap=0.2)
    write_recording(second, "g2", gap=0.2)
    result = run_asectl("replay", str(first), str(second), "--policy", "random", "-o", "json")
    content = json.loads(result.stdout)
    assert content["gateways"] == ["g1", "g2"]
    assert content["changed"]["requests"] == 400


def test_recording_that_a_replay_does_not_meet_is_doubted(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    write_recording(path, has_end=False, delay=0.5)
    result = run_asectl("replay", str(path))
    assert "note: a recording was broken off: its last requests are missing" in result.stdout
    assert "note: the replay as recorded has a p50 of 100.0 ms, not 600.0" in result.stdout


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["none.rec"], 2, "none.rec: No such file"),
        (["."], 2, ".: Is a directory"),
        (["text"], 3, "text:1: no line of a recording"),
        (["empty"], 3, "empty: no line has the kind start"),
        (["still"], 3, "still: no request was recorded"),
        (["a.rec", "a.rec"], 2, "the gateway g1 is in two of the recordings"),
        (["batches"], 3, "a:1 of ocr runs requests in batches of up to 8"),
        (["a.rec", "--without", "a:2"], 2, "no instance 'a:2' was recorded; did you mean 'a:1'?"),
        (["a.rec", "--policy", "best"], 2, "invalid choice: 'best'"),
        (["a.rec", "--rate", "0"], 2, "'0' is no factor of 0.01 to 100, such as x1.5"),
        (["a.rec", "--rate", "1e3"], 2, "'1e3' is no factor"),
        (["a.rec", "--add", "-1"], 2, "--add: 0 to 1000, not -1"),
    ],
)
def test_wrong_input_is_named(tmp_path: Path, flags: list[str], code: int, message: str) -> None:
    write_recording(tmp_path / "a.rec")
    write_recording(tmp_path / "batches", max_batch=8)
    (tmp_path / "text").write_text("some text\nand more\n")
    (tmp_path / "empty").write_text("")
    start = (tmp_path / "a.rec").read_text().splitlines(keepends=True)[0]
    (tmp_path / "still").write_text(start)
    result = run_asectl("replay", *flags, cwd=tmp_path)
    assert (result.returncode, message in result.stderr) == (code, True), result.stderr
    assert result.stderr.count("\n") <= 2
