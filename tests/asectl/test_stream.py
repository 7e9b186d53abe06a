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
from aseloader.run import load
from schemas.model import document
from tests.harness import PATIENCE, ROOT, Gateway, Loader

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
        running.joined(vad)
        running.joined(talker)
        running.joined(image)
        yield running


def call(gateway: Gateway, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "asectl", "call", *words, "--url", gateway.url]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE, check=False
    )


def lines(told: "subprocess.CompletedProcess[str]") -> list[Any]:
    assert told.returncode == 0, told.stderr
    return [json.loads(line) for line in told.stdout.splitlines()]


def test_segments_come_while_the_audio_does(gateway: Gateway) -> None:
    """With --realtime the sample takes four seconds; its first segment begins in the first one."""
    words = [sys.executable, "-m", "asectl", "call", "vad", "--ws", "--file", WAV, "--realtime"]
    with subprocess.Popen(
        [*words, "--url", gateway.url], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as running:
        assert running.stdout is not None
        first = json.loads(running.stdout.readline())
        assert running.poll() is None, "it still talks"
        rest = [json.loads(line) for line in running.stdout]
    assert first["segment"] == {"number": 0, "event": "began", "start_s": 0.4}
    assert [told["segment"]["event"] for told in rest] == ["ended", "began", "ended"]
    assert rest == lines(call(gateway, "vad", "--ws", "--file", WAV))[1:]
    assert rest == lines(call(gateway, "vad", "--sse", "--file", WAV))[1:]


def test_a_service_that_answers_once_is_asked_either_way(gateway: Gateway) -> None:
    picture = str(ROOT / "examples/image/small.png")
    by_events = lines(call(gateway, "image", "--sse", "--file", picture))
    by_socket = lines(call(gateway, "image", "--ws", "--file", picture))
    assert by_events == by_socket
    assert [list(told) for told in by_socket] == [["thumbnail"], ["facts"]]


def test_who_reads_no_more_lines_ends_it_quietly(gateway: Gateway) -> None:
    words = [sys.executable, "-m", "asectl", "call", "vad", "--ws", "--file", WAV, "--realtime"]
    with subprocess.Popen(
        [*words, "--url", gateway.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert json.loads(running.stdout.readline())["segment"]["event"] == "began"
        running.stdout.close()
        assert running.stderr.read() == ""
        assert running.wait(PATIENCE) == 1


def test_a_client_made_from_the_schema_streams(gateway: Gateway, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "asectl", "api", "client", "vad", "--url", gateway.url]
    module = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    (tmp_path / "vad_client.py").write_text(module)
    mypy = [sys.executable, "-m", "mypy", "--strict", "vad_client.py"]
    assert subprocess.run(mypy, cwd=tmp_path, check=False).returncode == 0
    with wave.open(WAV) as sample:
        pcm = sample.readframes(sample.getnframes())
    script = f"""
import sys
sys.path.insert(0, ".")
import vad_client
pcm = sys.stdin.buffer.read()
for told in vad_client.stream(audio=pcm, url={gateway.url!r}, app_id="tests"):
    print(told.segment["event"])
try:
    list(vad_client.stream(audio=pcm[:3], url={gateway.url!r}, app_id="tests"))
except vad_client.ServiceError as error:
    print(error)
"""
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, input=pcm, stdout=subprocess.PIPE, check=True
    ).stdout.decode()
    assert told.split("\n")[:4] == ["began", "ended", "began", "ended"]
    assert "10107: 16-bit samples are two bytes each" in told


@pytest.mark.parametrize("way", ["--ws", "--sse"])
def test_errors_are_told(gateway: Gateway, way: str) -> None:
    told = call(gateway, "vad", way, "--file", WAV, "-p", "pause=1")
    assert told.returncode == 1
    assert "breaks minimum 20 (code 10163)" in told.stderr
    assert "sid " in told.stderr


def test_binary_results_are_kept(gateway: Gateway, tmp_path: Path) -> None:
    picture, kept = str(ROOT / "examples/image/sample.jpg"), tmp_path / "small.webp"
    for way in ("--ws", "--sse"):
        told = lines(call(gateway, "image", way, "--file", picture, "-o", str(kept)))
        assert [list(each) for each in told] == [["facts"]], "the other is in the file"
        assert kept.read_bytes()[:4] in (b"RIFF", b"\xff\xd8\xff\xe0", b"\x89PNG")
        kept.unlink()


def test_a_sound_of_another_kind_is_refused(gateway: Gateway, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "two.wav"), "wb") as file:
        file.setparams((2, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(64_000))
    told = call(gateway, "vad", "--ws", "--file", str(tmp_path / "two.wav"))
    assert told.returncode == 1
    assert "one channel of 16-bit samples" in told.stderr
    told = call(gateway, "vad", "--ws")
    assert "no audio came" in told.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
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
def test_what_goes_otherwise_is_said(
    gateway: Gateway, words: tuple[str, ...], code: int, said: str
) -> None:
    told = call(gateway, *words)
    assert (told.returncode, said in told.stderr) == (code, True), told.stderr


def test_a_session_that_the_gateway_cuts_off_did_not_end_well() -> None:
    with Gateway("--gateway-drain", "0.5") as gateway, Loader(gateway.lb, VAD) as vad:
        gateway.joined(vad)
        words = [sys.executable, "-m", "asectl", "call", "vad", "--ws", "--file", WAV]
        with subprocess.Popen(
            [*words, "--realtime", "--url", gateway.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        ) as running:
            assert running.stdout is not None
            assert running.stderr is not None
            running.stdout.readline()
            gateway.signal(signal.SIGTERM)
            assert "the gateway stops" in running.stderr.read()
            assert running.wait(PATIENCE) == 1


def test_no_character_is_cut() -> None:
    text = base64.b64encode("漢字".encode() * 500).decode()
    envelope = {"header": {"status": 3}, "payload": {"words": {"text": text}}}
    told = [frame["payload"]["words"]["text"] for frame, _ in split_envelope(envelope, SERVICE)]
    assert len(told) == 3
    assert "".join(base64.b64decode(piece).decode() for piece in told) == "漢字" * 500
    odd = base64.b64encode(b"\x80" * 4000).decode()  # no text, and it ends all the same
    envelope["payload"] = {"words": {"text": odd}}
    assert sum(1 for _ in split_envelope(envelope, SERVICE)) == 4


def test_of_a_sound_is_told_what_the_schema_has_a_word_for(tmp_path: Path) -> None:
    sound = base64.b64encode((ROOT / "examples/vad/sample.wav").read_bytes()).decode()
    envelope = {"header": {"status": 3}, "payload": {"audio": {"audio": sound}}}
    frame, _ = next(split_envelope(envelope, SERVICE))
    told = {name: frame["payload"]["audio"].get(name) for name in ("sample_rate", "channels")}
    assert told == {"sample_rate": 8000, "channels": 1}
    envelope["payload"] = {"voice": {"audio": sound}}
    frame, _ = next(split_envelope(envelope, SERVICE))
    assert "sample_rate" not in frame["payload"]["voice"]


def test_an_envelope_is_cut() -> None:
    audio = base64.b64encode(b"x" * 3000).decode()
    envelope = {
        "header": {"app_id": "a", "status": 3}, "parameter": {"s": {"n": 1}},
        "payload": {"voice": {"audio": audio, "status": 3}},
    }  # fmt: skip
    told = [frame for frame, _ in split_envelope(envelope, SERVICE)]
    assert [frame["header"]["status"] for frame in told] == [0, 1, 2]
    assert [frame["payload"]["voice"]["seq"] for frame in told] == [0, 1, 2]
    assert told[0]["parameter"] == {"s": {"n": 1}}
    assert "parameter" not in told[1]
    data = [base64.b64decode(frame["payload"]["voice"]["audio"]) for frame in told]
    assert b"".join(data) == b"x" * 3000
    ((whole, _),) = split_envelope(envelope, SERVICE, single_frame=True)
    assert whole["header"]["status"] == 3
    ((bare, _),) = split_envelope({"header": {"status": 3}}, SERVICE)
    assert bare == {"header": {"status": 3}}
