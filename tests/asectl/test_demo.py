"""`asectl up --demo` as a newcomer runs it: what it prints works, and it leaves nothing."""

import io
import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.harness import ROOT, Process, run_asectl

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def demo() -> Iterator[Process]:
    with Process("up", "--demo", "--port", "0") as running:
        running.wait_for_output("Ctrl-C ends everything")
        yield running


def url(demo: Process) -> str:
    return demo.wait_for_output("gateway  http").split()[1]


def call(demo: Process, *args: str) -> subprocess.CompletedProcess[str]:
    return run_asectl("call", "--url", url(demo), *args)


def test_addresses_and_joined_loaders_are_printed(demo: Process) -> None:
    for part in ("gateway  http://", "lb       127.0.0.1:", "admin    http://", "ready; try"):
        demo.wait_for_output(part)
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
def test_printed_curl_commands_run(demo: Process) -> None:
    commands = [line.strip() for line in demo.output if line.strip().startswith("curl -sS ")]
    assert len(commands) == 2
    image, audio = sorted(commands, key=lambda line: "/audio" in line)
    assert image.endswith("-F image=@examples/image/sample.jpg -o thumbnail.png")
    picture = subprocess.check_output(["bash", "-c", image.replace("thumbnail.png", "-")], cwd=ROOT)
    assert Image.open(io.BytesIO(picture)).size == (256, 171)
    facts = json.loads(subprocess.check_output(["bash", "-c", audio], cwd=ROOT))
    assert facts["levels"]["seconds"] > 0 if "levels" in facts else facts


def test_printed_asectl_commands_run(demo: Process) -> None:
    commands = [line.split() for line in demo.output if line.startswith("  ") and " call " in line]
    assert [words[2] for words in commands] == ["image", "audio", "vad"]
    for words in commands:
        arguments = [
            word for word in words[1:] if word != "--realtime"
        ]  # it takes the time it says
        result = run_asectl(*arguments)
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith("{")


def test_call_without_an_envelope(demo: Process, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    sample = EXAMPLES / "image" / "sample.jpg"
    result = call(demo, "image", f"@{sample}", "width=200", "-o", f"thumbnail={out}")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["facts"]["width"] == 720
    assert Image.open(io.BytesIO(out.read_bytes())).size == (200, 133)


@pytest.mark.parametrize(
    ("members", "code", "message"),
    [
        (["wdith=3"], 2, "no member 'wdith'; there is: image, format, quality, width"),
        (["width"], 2, "write NAME=VALUE, NAME=@FILE or @FILE"),
        (["image=AAAA"], 2, "image: is a file; write image=@PATH"),
        (["image=@none.png"], 1, "none.png: No such file"),
        (["width=3", "width=4"], 2, "width: is given twice"),
        (["width=x", f"image=@{EXAMPLES}/image/small.png"], 1, "width: must be of type integer"),
        (["width=3", "-p", "width=3"], 2, "with --file, -p, --header, --ws and --sse only flags"),
        (["width=3"], 1, "image: is required (code 10163, HTTP 400)"),
    ],
    ids=range(8),
)
def test_wrong_members_of_a_call(
    demo: Process, members: list[str], code: int, message: str
) -> None:
    result = call(demo, "image", *members)
    assert (result.returncode, message in result.stderr) == (code, True), result.stderr


def test_call_writes_the_output_image(demo: Process, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    sample = str(EXAMPLES / "image" / "sample.jpg")
    result = call(demo, "image", "--file", sample, "-p", "width=200", "-o", str(out))
    assert result.returncode == 0, result.stderr
    image_info = json.loads(result.stdout)["facts"]
    assert (image_info["width"], image_info["height"], image_info["mode"]) == (720, 480, "RGB")
    picture = Image.open(io.BytesIO(out.read_bytes()))
    assert (picture.format, picture.size) == ("PNG", (200, 133))
    assert f"wrote {out.stat().st_size} bytes" in result.stderr


def test_call_writes_json_outputs_to_files(demo: Process, tmp_path: Path) -> None:
    out = tmp_path / "facts.json"
    sample = str(EXAMPLES / "image" / "small.png")
    result = call(demo, "image", "--file", f"image={sample}", "-o", f"facts={out}")
    assert result.returncode == 0, result.stderr
    assert json.loads(out.read_text())["width"] == 240
    assert result.stdout == ""


def test_audio_call_prints_the_segments(demo: Process) -> None:
    result = call(demo, "audio", "--file", f"audio={EXAMPLES / 'audio' / 'sample.wav'}")
    assert result.returncode == 0, result.stderr
    assert len(json.loads(result.stdout)["segments"]["speech"]) == 2


@pytest.mark.parametrize(
    ("args", "code", "message"),
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
def test_failed_call_explains_why(demo: Process, args: list[str], code: int, message: str) -> None:
    result = call(demo, *args)
    assert result.returncode == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_call_to_an_unreachable_gateway_exits_4() -> None:
    result = run_asectl("call", "x", "--url", "http://127.0.0.1:9")
    assert result.returncode == 4


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()]


def has_exited(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]


@pytest.mark.parametrize(
    "signal_number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"]
)
def test_stopping_the_demo_stops_its_children(signal_number: int) -> None:
    with Process("up", "--demo", "--port", "0") as running:
        running.wait_for_output("Ctrl-C ends everything")
        child_pids = children(running.pid)
        assert len(child_pids) == 7
        running.signal(signal_number)
        assert running.wait_for_exit() == 0
        assert all(has_exited(pid) for pid in child_pids)
        assert not [line for line in running.text if "chttp2" in line], "gRPC's own lines stay out"


def test_a_killed_demo_leaves_no_orphans() -> None:
    with Process("up", "--demo", "--port", "0") as running:
        running.wait_for_output("Ctrl-C ends everything")
        child_pids = children(running.pid)
        running.signal(signal.SIGKILL)
        running.wait_for_exit()
        for pid in child_pids:
            fd = os.pidfd_open(pid) if not has_exited(pid) else None
            if fd is not None:
                assert select.select([fd], [], [], 30)[0], f"{pid} lives on"
                os.close(fd)


def test_killed_loader_is_reported_and_the_others_keep_serving(tmp_path: Path) -> None:
    with Process("up", "--demo", "--port", "0") as running:
        running.wait_for_output("Ctrl-C ends everything")
        victim = next(pid for pid in children(running.pid) if b"image" in cmdline(pid))
        os.kill(victim, signal.SIGKILL)
        running.wait_for_output(f"ended (pid {victim}), killed by signal 9")
        assert running.wait_for_output("suspect (stream_lost)").startswith("image-")
        result = call(running, "image", "--file", str(EXAMPLES / "image" / "small.png"))
        assert result.returncode == 0, result.stderr


def cmdline(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_busy_port_is_reported_and_nothing_keeps_running() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        with Process("up", "--demo", "--port", str(port)) as running:
            assert running.wait_for_exit() == 1
            assert f"127.0.0.1:{port} is in use by " in "\n".join(running.text)


def test_nothing_to_serve_is_a_usage_error() -> None:
    with Process("up") as running:
        assert running.wait_for_exit() == 2
        assert "give --demo, --deployer, or FILE:Class" in "\n".join(running.text)


def test_loaders_that_do_not_start_are_not_waited_for() -> None:
    good, bad = "tests/wrappers/probe.py:Probe", "tests/wrappers/probe.py:Broken"
    with Process("up", good, bad, "--each", "1", "--port", "0") as running:
        assert (
            running.wait_for_output("ready") == "ready without broken-1; try, in another terminal:"
        )
        output = "\n".join(running.text)
        assert "probe.py does not load" in output
        assert "RuntimeError: no weights here" in output
        assert "asectl/process.py" not in output, "the author's frames alone"
    with Process("up", bad, "nowhere.py:X", "--each", "1", "--port", "0") as running:
        assert running.wait_for_exit() == 1
        assert "no loader is left" in running.output


def test_up_serves_a_given_wrapper() -> None:
    with Process("up", "tests/wrappers/probe.py:Probe", "--each", "1", "--port", "0") as running:
        running.wait_for_output("Ctrl-C ends everything")
        assert running.wait_for_output(" call probe --url http://").endswith(" text=hello")
        path = ROOT / "pyproject.toml"
        result = call(running, "probe", "--file", str(path), "-p", "number=1")
        assert "must decode to at most 1024 bytes" in result.stderr


def test_a_loader_with_progress_bars_is_not_stuck() -> None:
    spec = "tests/wrappers/loading.py:Progress"
    with Process("up", spec, "--each", "1", "--port", "0") as running:
        running.wait_for_output("progress-1")
        running.signal(signal.SIGINT)
        assert running.wait_for_exit() == 0


def test_a_long_init_is_shown(tmp_path: Path) -> None:
    fifo = tmp_path / "weights"
    os.mkfifo(fifo)
    spec = "tests/wrappers/loading.py:Loading"
    with Process("up", spec, "--each", "1", "--port", "0", "--set", f"fifo={fifo}") as running:
        running.wait_for_output("init runs, 2 s so far")
        fifo.write_text("")
        running.wait_for_output("ready; try")


def test_ejections_and_later_requests_are_printed() -> None:
    with Process("up", "tests/wrappers/talker.py:Talker", "--port", "0") as process:
        endpoint_url = f"{url(process)}/v1/private/talker"
        process.wait_for_output("ready; try")
        body = {"header": {"app_id": "t", "status": 3}, "payload": {"text": {"text": "aGk="}}}
        failing_body = {**body, "parameter": {"talker": {"act": "raise"}}}
        headers = {"accept": "text/event-stream"}
        with httpx.Client(trust_env=False, timeout=30) as http:
            for _ in range(20):
                # It streams: 10004 is no fault of the loader's.
                http.post(endpoint_url, json=body, headers={"accept": "application/json"})
            assert not any("ejected" in line for line in process.output)
            while not any("instance ejected" in line for line in process.output):
                http.post(endpoint_url, json=failing_body, headers=headers)
            assert http.post(endpoint_url + "-not-there", json=body).status_code == 404
        process.wait_for_output("404 POST")


def test_demo_that_asks_for_a_key(tmp_path: Path) -> None:
    created = run_asectl("key", "create", "--app", "me", cwd=tmp_path)
    (tmp_path / "key.txt").write_text(created.stdout)
    wrapper = f"{ROOT}/examples/audio/wrapper.py"
    with Process("up", wrapper, "--auth", "key", "--port", "0", cwd=tmp_path) as up:
        up.wait_for_output("Callers prove who they are by key: docs/security.md.")
        line = next(text for text in up.output if text.startswith("gateway "))
        url = line.split()[1]
        sample = f"audio=@{ROOT}/examples/audio/sample.wav"
        call = ("call", "audio", "--url", url, sample)
        refused = run_asectl(*call, cwd=tmp_path)
        assert refused.returncode == 1
        assert "this gateway takes an API key" in refused.stderr
        accepted = run_asectl(*call, "--key-file", "key.txt", cwd=tmp_path)
        assert accepted.returncode == 0, accepted.stderr
        environ = {**os.environ, "ASE_API_KEY": created.stdout}
        assert run_asectl(*call, cwd=tmp_path, environ=environ).returncode == 0
