"""`asectl up --demo` as a newcomer runs it: what it prints works, and it leaves nothing."""

import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.harness import ROOT, Process

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def demo() -> Iterator[Process]:
    with Process("up", "--demo", "--port", "0") as running:
        running.printed("Ctrl-C ends everything")
        yield running


def url(demo: Process) -> str:
    return demo.printed("gateway ").split()[1]


def call(demo: Process, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "asectl", "call", "--url", url(demo), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_it_tells_addresses_and_who_joins(demo: Process) -> None:
    for part in ("gateway  http://", "lb       127.0.0.1:", "admin    http://", "ready; try"):
        demo.printed(part)
    joined = [line.split()[0] for line in demo.output if " joined (pid " in line]
    assert sorted(set(joined)) == [
        "audio-1",
        "audio-2",
        "image-1",
        "image-2",
        "vad-1",
        "vad-2",
    ]


@pytest.mark.peer("curl")
def test_the_printed_lines_work_when_pasted(demo: Process) -> None:
    lines = [line.strip() for line in demo.output if line.strip().startswith("curl -sS ")]
    assert len(lines) == 2
    for line in lines:
        told = json.loads(subprocess.check_output(["bash", "-c", line], cwd=ROOT))
        assert told["header"]["code"] == 0
        assert told["payload"]


def test_a_call_does_what_curl_does_and_writes_a_picture(demo: Process, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    sample = str(EXAMPLES / "image" / "sample.jpg")
    told = call(demo, "image", "--file", sample, "-p", "width=200", "-o", str(out))
    assert told.returncode == 0, told.stderr
    facts = json.loads(told.stdout)["facts"]
    assert (facts["width"], facts["height"], facts["mode"]) == (720, 480, "RGB")
    picture = Image.open(io.BytesIO(out.read_bytes()))
    assert (picture.format, picture.size) == ("PNG", (200, 133))
    assert f"wrote {out.stat().st_size} bytes" in told.stderr


def test_json_outputs_can_be_kept_too(demo: Process, tmp_path: Path) -> None:
    out = tmp_path / "facts.json"
    sample = str(EXAMPLES / "image" / "small.png")
    told = call(demo, "image", "--file", f"image={sample}", "-o", f"facts={out}")
    assert told.returncode == 0, told.stderr
    assert json.loads(out.read_text())["width"] == 240
    assert told.stdout == ""


def test_a_call_of_audio_prints_what_was_heard(demo: Process) -> None:
    told = call(demo, "audio", "--file", f"audio={EXAMPLES / 'audio' / 'sample.wav'}")
    assert told.returncode == 0, told.stderr
    assert len(json.loads(told.stdout)["segments"]["speech"]) == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nobody"], 1, "no service 'nobody'; there is: audio, image, vad"),
        (["image", "-p", "size=3"], 2, "no parameter 'size'; there is: format, quality, width"),
        (["image", "--file", "pic=x"], 2, "no input of that name; write NAME=PATH, of image"),
        (["image", "-o", "thumb=x.png"], 2, "no output of that name; write NAME=PATH, of "),
        (["image", "--file", "nowhere.png"], 1, "nowhere.png: No such file"),
        (["image"], 1, "$.payload.image: is required (code 10163, HTTP 400)"),
        (
            ["image", "--file", "pyproject.toml"],
            1,
            "not a readable PNG or JPEG picture (code 10107",
        ),
        (["image", "--file", "pyproject.toml", "-p", "width=5"], 1, "width: breaks minimum 16"),
        (
            ["image", "--file", "pyproject.toml", "-p", "width=big"],
            1,
            "width: must be of type integer",
        ),
    ],
    ids=str,
)
def test_a_call_gone_wrong_says_why(demo: Process, words: list[str], code: int, said: str) -> None:
    told = call(demo, *words)
    assert told.returncode == code
    assert said in told.stderr
    assert "Traceback" not in told.stderr


def test_a_call_to_nobody_is_exit_4() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "asectl", "call", "x", "--url", "http://127.0.0.1:9"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 4


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_the_end_of_the_demo_ends_all_it_started(number: int) -> None:
    with Process("up", "--demo", "--port", "0") as running:
        running.printed("Ctrl-C ends everything")
        started = children(running.pid)
        assert len(started) == 7
        running.signal(number)
        assert running.ended() == 0
        assert all(gone(pid) for pid in started)
        assert not [line for line in running.text if "chttp2" in line], "gRPC's own lines stay out"


def test_a_killed_demo_leaves_no_orphans() -> None:
    with Process("up", "--demo", "--port", "0") as running:
        running.printed("Ctrl-C ends everything")
        started = children(running.pid)
        running.signal(signal.SIGKILL)
        running.ended()
        for pid in started:
            fd = os.pidfd_open(pid) if not gone(pid) else None
            if fd is not None:
                assert select.select([fd], [], [], 30)[0], f"{pid} lives on"
                os.close(fd)


def test_a_killed_loader_is_told_of_and_the_rest_goes_on(tmp_path: Path) -> None:
    with Process("up", "--demo", "--port", "0") as running:
        running.printed("Ctrl-C ends everything")
        victim = next(pid for pid in children(running.pid) if b"image" in cmdline(pid))
        os.kill(victim, signal.SIGKILL)
        running.printed(f"ended (pid {victim}), killed by signal 9")
        assert running.printed("suspect (stream_lost)").startswith("image-")
        told = call(running, "image", "--file", str(EXAMPLES / "image" / "small.png"))
        assert told.returncode == 0, told.stderr


def cmdline(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_busy_port_is_named_and_nothing_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        with Process("up", "--demo", "--port", str(port)) as running:
            assert running.ended() == 1
            assert f"127.0.0.1:{port} is in use by " in "\n".join(running.text)


def test_nothing_to_serve_is_a_usage_error() -> None:
    with Process("up") as running:
        assert running.ended() == 2
        assert "give --demo, or FILE:Class" in "\n".join(running.text)


def test_loaders_that_do_not_start_are_not_waited_for() -> None:
    good, bad = "tests/wrappers/probe.py:Probe", "tests/wrappers/probe.py:Broken"
    with Process("up", good, bad, "--each", "1", "--port", "0") as running:
        assert running.printed("ready") == "ready without broken-1; try, in another terminal:"
        said = "\n".join(running.text)
        assert "probe.py does not load" in said
        assert "RuntimeError: no weights here" in said
        assert "asectl/process.py" not in said, "the author's frames alone"
    with Process("up", bad, "nowhere.py:X", "--each", "1", "--port", "0") as running:
        assert running.ended() == 1
        assert "no loader is left" in running.output


def test_a_wrapper_of_ones_own_is_served() -> None:
    with Process("up", "tests/wrappers/probe.py:Probe", "--each", "1", "--port", "0") as running:
        running.printed("Ctrl-C ends everything")
        assert "--file PATH" in running.printed(" call probe --url http://")
        text = ROOT / "pyproject.toml"
        told = call(running, "probe", "--file", str(text), "-p", "number=1")
        assert "must decode to at most 1024 bytes" in told.stderr


def test_a_loader_with_progress_bars_is_not_stuck() -> None:
    spec = "tests/wrappers/loading.py:Progress"
    with Process("up", spec, "--each", "1", "--port", "0") as running:
        running.printed("progress-1")
        running.signal(signal.SIGINT)
        assert running.ended() == 0


def test_it_tells_who_is_ejected_and_goes_on_telling() -> None:
    with Process("up", "tests/wrappers/talker.py:Talker", "--port", "0") as up:
        where = f"{url(up)}/v1/private/talker"
        up.printed("ready; try")
        told = {"header": {"app_id": "t", "status": 3}, "payload": {"text": {"text": "aGk="}}}
        bad = {**told, "parameter": {"talker": {"act": "raise"}}}
        events = {"accept": "text/event-stream"}
        with httpx.Client(trust_env=False, timeout=30) as http:
            for _ in range(20):
                http.post(where, json=told)  # it streams: 10004 is no fault of the loader's
            assert not any("ejected" in line for line in up.output)
            while not any("instance ejected" in line for line in up.output):
                http.post(where, json=bad, headers=events)
            assert http.post(where + "-not-there", json=told).status_code == 404
        up.printed("404 POST")
