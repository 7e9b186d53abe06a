"""`asectl call --ws` and `--sse`, and the demo service that listens."""

import base64
import json
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asectl.stream import split_envelope
from aseloader import declare
from aseloader.loading import load
from schemas.model import document
from tests.asectl.test_wav import wav_file
from tests.harness import ROOT, TIMEOUT_S, Gateway, Loader, run_asectl

VAD = "examples/vad/wrapper.py"
SERVICE = document.service_from_document(document.parse(declare.schema(load(str(ROOT / VAD)))))
WAV = str(ROOT / "examples/vad/sample.wav")


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with (
        Gateway() as running,
        Loader(running.lb, "examples/vad/wrapper.py") as vad,
        Loader(running.lb, "examples/image/wrapper.py") as image,
        Loader(running.lb, "tests/wrappers/talker.py:Talker") as talker,
    ):
        running.wait_until_up(vad)
        running.wait_until_up(talker)
        running.wait_until_up(image)
        yield running


def call(gateway: Gateway, *args: str) -> "subprocess.CompletedProcess[str]":
    return run_asectl("call", *args, "--url", gateway.url)


def json_lines(result: "subprocess.CompletedProcess[str]") -> list[Any]:
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_segments_arrive_while_the_audio_is_sent(gateway: Gateway) -> None:
    """With --realtime the sample takes four seconds; its first segment begins in the first one."""
    command = [sys.executable, "-m", "asectl", "call", "vad", "--ws", "--file", WAV, "--realtime"]
    with subprocess.Popen(
        [*command, "--url", gateway.url], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert process.poll() is None, "it still talks"
        remaining = [json.loads(line) for line in process.stdout]
    assert first["segment"] == {"number": 0, "event": "began", "start_s": 0.4}
    assert [result["segment"]["event"] for result in remaining] == ["ended", "began", "ended"]
    assert remaining == json_lines(call(gateway, "vad", "--ws", "--file", WAV))[1:]
    assert remaining == json_lines(call(gateway, "vad", "--sse", "--file", WAV))[1:]


def test_unary_service_can_be_called_by_websocket_and_sse(gateway: Gateway) -> None:
    picture = str(ROOT / "examples/image/small.png")
    sse_results = json_lines(call(gateway, "image", "--sse", "--file", picture))
    websocket_results = json_lines(call(gateway, "image", "--ws", "--file", picture))
    assert sse_results == websocket_results
    assert [list(result) for result in websocket_results] == [["thumbnail"], ["facts"]]


def test_closed_stdout_ends_the_call_quietly(gateway: Gateway) -> None:
    command = [sys.executable, "-m", "asectl", "call", "vad", "--ws", "--file", WAV, "--realtime"]
    with subprocess.Popen(
        [*command, "--url", gateway.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["segment"]["event"] == "began"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(TIMEOUT_S) == 1


def test_generated_client_streams(gateway: Gateway, tmp_path: Path) -> None:
    module = run_asectl("api", "client", "vad", "--url", gateway.url).stdout
    (tmp_path / "vad_client.py").write_text(module)
    with wave.open(WAV) as sample:
        pcm = sample.readframes(sample.getnframes())
    script = f"""
import sys
sys.path.insert(0, ".")
import vad_client
pcm = sys.stdin.buffer.read()
client = vad_client.Client({gateway.url!r}, app_id="tests")
for result in client.stream(audio=pcm):
    print(result.segment["event"])
try:
    list(client.stream(audio=pcm[:3]))
except vad_client.Problem as problem:
    print(problem)
"""
    output = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, input=pcm, stdout=subprocess.PIPE, check=True
    ).stdout.decode()
    assert output.split("\n")[:4] == ["began", "ended", "began", "ended"]
    assert "10107: 16-bit samples are two bytes each" in output


@pytest.mark.parametrize("transport_flag", ["--ws", "--sse"])
def test_errors_are_printed(gateway: Gateway, transport_flag: str) -> None:
    result = call(gateway, "vad", transport_flag, "--file", WAV, "-p", "pause=1")
    assert result.returncode == 1
    assert "breaks minimum 20 (code 10163)" in result.stderr
    assert "sid " in result.stderr


def test_binary_results_are_written_to_files(gateway: Gateway, tmp_path: Path) -> None:
    picture, output_path = str(ROOT / "examples/image/sample.jpg"), tmp_path / "small.webp"
    for transport_flag in ("--ws", "--sse"):
        results = json_lines(
            call(gateway, "image", transport_flag, "--file", picture, "-o", str(output_path))
        )
        assert [list(result) for result in results] == [["facts"]], "the other is in the file"
        assert output_path.read_bytes()[:4] in (b"RIFF", b"\xff\xd8\xff\xe0", b"\x89PNG")
        output_path.unlink()


def test_unsupported_audio_format_is_rejected(gateway: Gateway, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "two.wav"), "wb") as file:
        file.setparams((2, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(64_000))
    result = call(gateway, "vad", "--ws", "--file", str(tmp_path / "two.wav"))
    assert result.returncode == 1
    assert "one channel of 16-bit samples" in result.stderr
    result = call(gateway, "vad", "--ws")
    assert "no audio came" in result.stderr


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("vad", "--file", WAV), 1, "by this command: --ws, or --sse"),
        (("vad", "--file", WAV, "--realtime"), 2, "--realtime goes with --ws"),
        (
            ("talker", "--ws", "-p", "act=hold", "--timeout", "0.5", "--file", "README.md"),
            4,
            "no result for 0.5 s",
        ),
    ],
)
def test_invalid_stream_calls_are_explained(
    gateway: Gateway, args: tuple[str, ...], code: int, message: str
) -> None:
    result = call(gateway, *args)
    assert (result.returncode, message in result.stderr) == (code, True), result.stderr


def test_session_closed_by_gateway_drain_exits_1() -> None:
    with Gateway("--gateway-drain", "0.5") as gateway, Loader(gateway.lb, VAD) as vad:
        gateway.wait_until_up(vad)
        command = [sys.executable, "-m", "asectl", "call", "vad", "--ws", "--file", WAV]
        with subprocess.Popen(
            [*command, "--realtime", "--url", gateway.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            gateway.signal(signal.SIGTERM)
            assert "the gateway stops" in process.stderr.read()
            assert process.wait(TIMEOUT_S) == 1


def test_split_keeps_utf8_characters_whole() -> None:
    text = base64.b64encode("漢字".encode() * 500).decode()
    envelope = {"header": {"status": 3}, "payload": {"words": {"text": text}}}
    texts = [frame["payload"]["words"]["text"] for frame, _ in split_envelope(envelope, SERVICE)]
    assert len(texts) == 3
    assert "".join(base64.b64decode(text_part).decode() for text_part in texts) == "漢字" * 500
    invalid_utf8 = base64.b64encode(b"\x80" * 4000).decode()  # no text, and it ends all the same
    envelope["payload"] = {"words": {"text": invalid_utf8}}
    assert sum(1 for _ in split_envelope(envelope, SERVICE)) == 4


def test_audio_attributes_are_added_only_if_declared(tmp_path: Path) -> None:
    audio = base64.b64encode((ROOT / "examples/vad/sample.wav").read_bytes()).decode()
    envelope = {"header": {"status": 3}, "payload": {"audio": {"audio": audio}}}
    frame, _ = next(split_envelope(envelope, SERVICE))
    attributes = {name: frame["payload"]["audio"].get(name) for name in ("sample_rate", "channels")}
    assert attributes == {"sample_rate": 8000, "channels": 1}
    envelope["payload"] = {"voice": {"audio": audio}}
    frame, _ = next(split_envelope(envelope, SERVICE))
    assert "sample_rate" not in frame["payload"]["voice"]


def test_envelope_is_split_into_frames() -> None:
    audio = base64.b64encode(b"x" * 3000).decode()
    envelope = {
        "header": {"app_id": "a", "status": 3}, "parameter": {"s": {"n": 1}},
        "payload": {"audio": {"audio": audio, "status": 3}},
    }  # fmt: skip
    frames = [frame for frame, _ in split_envelope(envelope, SERVICE)]
    assert [frame["header"]["status"] for frame in frames] == [0, 1, 2]
    assert [frame["payload"]["audio"]["seq"] for frame in frames] == [0, 1, 2]
    assert frames[0]["parameter"] == {"s": {"n": 1}}
    assert "parameter" not in frames[1]
    chunks = [base64.b64decode(frame["payload"]["audio"]["audio"]) for frame in frames]
    assert b"".join(chunks) == b"x" * 3000
    ((single_frame, _),) = split_envelope(envelope, SERVICE, single_frame=True)
    assert single_frame["header"]["status"] == 3
    ((header_frame, _),) = split_envelope({"header": {"status": 3}}, SERVICE)
    assert header_frame == {"header": {"status": 3}}


def test_input_that_has_no_first_frame_is_sent_whole() -> None:
    """Pictures of public schemas have the status 3 alone."""
    schema_document = json.loads(declare.schema(load(str(ROOT / VAD))))
    members = schema_document["schemainput"]["properties"]["payload"]["properties"]["audio"]
    members["properties"]["status"]["enum"] = [3]
    service = document.service_from_document(schema_document)
    audio = base64.b64encode(b"x" * 3000).decode()
    envelope = {"header": {"app_id": "a"}, "payload": {"audio": {"audio": audio}}}
    ((frame, _),) = split_envelope(envelope, service)
    assert frame["header"]["status"] == frame["payload"]["audio"]["status"] == 3


def test_wav_without_pcm_is_refused_before_anything_is_sent(
    gateway: Gateway, tmp_path: Path
) -> None:
    """Its bytes would be taken for samples of 16 kHz."""
    (tmp_path / "float.wav").write_bytes(wav_file(3, 32))
    result = call(gateway, "vad", "--ws", "--file", str(tmp_path / "float.wav"))
    assert result.returncode == 1
    assert "floating point samples; convert it to 16-bit PCM" in result.stderr
