"""`asectl call --ws` and `--sse`, and the demo service that listens."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from asectl.stream import frames
from tests.harness import PATIENCE, ROOT, Gateway, Loader

WAV = str(ROOT / "examples/vad/sample.wav")


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with (
        Gateway() as running,
        Loader(running.lb, "examples/vad/wrapper.py") as vad,
        Loader(running.lb, "examples/image/wrapper.py") as image,
    ):
        running.joined(vad)
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


@pytest.mark.parametrize("way", ["--ws", "--sse"])
def test_errors_are_told(gateway: Gateway, way: str) -> None:
    told = call(gateway, "vad", way, "--file", WAV, "-p", "pause=1")
    assert told.returncode == 1
    assert "breaks minimum 20 (code 10163)" in told.stderr
    assert "sid " in told.stderr


def test_an_envelope_is_cut() -> None:
    audio = base64.b64encode(b"x" * 3000).decode()
    envelope = {
        "header": {"app_id": "a", "status": 3}, "parameter": {"s": {"n": 1}},
        "payload": {"voice": {"audio": audio, "status": 3}},
    }  # fmt: skip
    told = [frame for frame, _ in frames(envelope)]
    assert [frame["header"]["status"] for frame in told] == [0, 1, 2]
    assert [frame["payload"]["voice"]["seq"] for frame in told] == [0, 1, 2]
    assert told[0]["parameter"] == {"s": {"n": 1}}
    assert "parameter" not in told[1]
    data = [base64.b64decode(frame["payload"]["voice"]["audio"]) for frame in told]
    assert b"".join(data) == b"x" * 3000
    ((whole, _),) = frames(envelope, whole=True)
    assert whole["header"]["status"] == 3
    ((bare, _),) = frames({"header": {"status": 3}})
    assert bare == {"header": {"status": 3}}
