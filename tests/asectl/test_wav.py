"""WAV files of every form: their samples, or why they have none that can be sent."""

import contextlib
import io
import struct
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asectl.wav import Wav, WavError, is_wav, parse

SAMPLES = bytes(range(16))
PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")


def wav_file(
    code: int = 1, bits: int = 16, channels: int = 1, *, size: int | None = None, extra: bytes = b""
) -> bytes:
    frame_size = channels * bits // 8
    format_chunk = struct.pack("<HHIIHH", code, channels, 8000, 8000 * frame_size, frame_size, bits)
    format_chunk += extra
    chunks = b"fmt " + struct.pack("<I", len(format_chunk)) + format_chunk
    chunks += b"LIST" + struct.pack("<I", 3) + b"abc\0"  # padded to an even size
    chunks += b"data" + struct.pack("<I", len(SAMPLES) if size is None else size) + SAMPLES
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def extensible(guid: bytes) -> bytes:
    return wav_file(0xFFFE, extra=struct.pack("<HHI", 22, 16, 4) + guid)


def test_samples_are_those_of_the_standard_library() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((2, 2, 44_100, 0, "NONE", ""))
        writer.writeframes(SAMPLES)
    assert is_wav(file.getvalue())
    assert parse(file.getvalue()) == Wav(44_100, 2, 16, SAMPLES)


@pytest.mark.parametrize(
    "file",
    [
        wav_file(),
        b"RIFF\0\0\0\0" + wav_file(size=0)[8:],
        b"RIFF\xff\xff\xff\xff" + wav_file(size=0)[8:],
        wav_file(size=0xFFFFFFFF),
        wav_file(size=9999),
        extensible(PCM_GUID),
    ],
)
def test_streamed_cut_and_extensible_files_have_their_samples(file: bytes) -> None:
    assert parse(file) == Wav(8000, 1, 16, SAMPLES)


def test_file_without_samples_has_none() -> None:
    assert parse(wav_file(size=0)).data == b""


def test_half_a_frame_at_the_end_is_dropped() -> None:
    assert parse(wav_file(bits=24)).data == SAMPLES[:15]


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (wav_file(3, 32), "floating point samples; convert it to 16-bit PCM"),
        (extensible(b"\x03" + PCM_GUID[1:]), "floating point samples"),
        (wav_file(85), "MP3 samples"),
        (wav_file(0x1234), "format 4660 samples"),
        (wav_file(0xFFFE), "format 65534 samples"),
        (wav_file(channels=0), "0 channels"),
        (wav_file(bits=12), "12-bit samples"),
        (wav_file()[:36], "has no samples"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0ab", "does not say how its samples are coded"),
    ],
)
def test_other_files_are_explained(file: bytes, message: str) -> None:
    with pytest.raises(WavError, match=message):
        parse(file)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_wav_or_an_error(data: bytes) -> None:
    for file in (b"RIFF\0\0\0\0WAVE" + data, wav_file()[:20] + data):
        with contextlib.suppress(WavError):
            assert len(parse(file).data) <= len(data)
