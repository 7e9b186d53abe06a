"""Bytes of payloads as text, pictures and arrays, and back."""

import io
import wave
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aseloader.types.payloads import payload_bytes, payload_reader
from schemas.model.service import DataType

PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def png(mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def wav(samples: Any, channels: int = 1, width: int = 2) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(width)
        sound.setframerate(8000)
        sound.writeframes(np.asarray(samples, "<i2").tobytes())
    return buffer.getvalue()


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_text_and_bytes() -> None:
    assert payload_reader(str, DataType.TEXT)("é".encode()) == "é"
    assert payload_reader(bytes, DataType.AUDIO)(b"\xff") == b"\xff"


def test_pictures() -> None:
    picture = payload_reader(Image.Image, DataType.IMAGE)(png())
    assert picture.size == (6, 4)
    read_pixels = payload_reader(np.ndarray, DataType.IMAGE)
    assert (read_pixels(png()) == PIXELS).all()
    assert read_pixels(png("L")).shape == (4, 6)
    assert read_pixels(png("P")).shape == (4, 6, 3), "a palette is no pixel"


def test_samples() -> None:
    read = payload_reader(np.ndarray, DataType.AUDIO)
    assert read(np.asarray([1, -2], "<i2").tobytes()).tolist() == [1, -2]
    assert read(wav([1, -2, 3])).tolist() == [1, -2, 3]
    assert read(wav([1, 2, 3, 4], channels=2)).tolist() == [[1, 2], [3, 4]]


def test_arrays() -> None:
    array = payload_reader(np.ndarray, DataType.OTHER)(npy(PIXELS))
    assert (array == PIXELS).all()


@pytest.mark.parametrize(
    ("declared_type", "kind", "data", "message"),
    [
        (str, DataType.TEXT, b"ab\xff", "is not UTF-8: byte 2"),
        (Image.Image, DataType.IMAGE, b"no picture", "is no picture that can be read"),
        (Image.Image, DataType.IMAGE, png()[:-30], "is no picture that can be read"),
        (np.ndarray, DataType.AUDIO, b"abc", "has half a sample"),
        (np.ndarray, DataType.AUDIO, b"RIFFabc", "is no WAV that can be read"),
        (np.ndarray, DataType.AUDIO, wav([1, 2], width=1), "must have 16 bits"),
        (np.ndarray, DataType.OTHER, b"abc", "is no array"),
        (np.ndarray, DataType.OTHER, b"PK\x05\x06" + bytes(18), "is no array"),
        (np.ndarray, DataType.OTHER, npy(PIXELS)[:-1], "its size is not that of its header"),
        (
            np.ndarray,
            DataType.OTHER,
            npy(PIXELS).replace(b"(4, 6, 3)", b"(99**9,) "),
            "is no array",
        ),
        (np.ndarray, DataType.OTHER, npy(np.array([{}], dtype=object)), "is no array"),
    ],
    ids=range(11),
)
def test_bytes_of_another_form_are_an_error(
    declared_type: Any, kind: DataType, data: bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        payload_reader(declared_type, kind)(data)


@pytest.mark.parametrize(
    ("declared_type", "kind"),
    [(int, DataType.TEXT), (Image.Image, DataType.TEXT), (np.ndarray, DataType.VIDEO)],
    ids=range(3),
)
def test_type_that_does_not_go_with_the_kind_is_an_error(
    declared_type: Any, kind: DataType
) -> None:
    with pytest.raises(TypeError, match="is no type of an input of kind"):
        payload_reader(declared_type, kind)


@pytest.mark.parametrize(
    ("encoding", "magic"), [("", b"\x89PNG"), ("png", b"\x89PNG"), ("jpg", b"\xff\xd8")]
)
@pytest.mark.parametrize("value", [PIXELS, Image.fromarray(PIXELS)], ids=["array", "picture"])
def test_pictures_are_encoded_as_requested(value: Any, encoding: str, magic: bytes) -> None:
    encoded = payload_bytes(value, DataType.IMAGE, encoding)
    assert encoded is not None
    assert encoded[0].startswith(magic)
    assert encoded[1] == (encoding or "png")


def test_array_of_another_kind_is_a_file_of_numpy() -> None:
    encoded = payload_bytes(PIXELS, DataType.OTHER, "")
    assert encoded is not None
    assert (np.load(io.BytesIO(encoded[0])) == PIXELS).all()
    assert encoded[1] == "npy"


@pytest.mark.parametrize(
    ("value", "encoding", "message"),
    [
        (np.zeros((2, 2, 7)), "png", "is no array of pixels"),
        (Image.fromarray(PIXELS), "mp3", "cannot be encoded as 'mp3'; there is: png, jpg"),
        (Image.fromarray(PIXELS).convert("RGBA"), "jpg", "cannot be encoded as jpg"),
    ],
    ids=range(3),
)
def test_what_cannot_be_encoded_is_an_error(value: Any, encoding: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        payload_bytes(value, DataType.IMAGE, encoding)


def test_other_values_are_left_alone() -> None:
    assert payload_bytes(b"x", DataType.OTHER, "") is None
    assert payload_bytes({"a": 1}, DataType.TEXT, "") is None
