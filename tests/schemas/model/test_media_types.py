"""Media types and the names of encodings."""

import pytest

from schemas.model.media_types import encodings, media_type_of
from schemas.model.service import DataType


@pytest.mark.parametrize(
    ("media_type", "file_name", "names"),
    [
        ("image/jpeg", "", ["jpg", "jpeg"]),
        ("IMAGE/JPG; q=1", "", ["jpg", "jpeg"]),
        ("audio/x-wav", "", ["wav"]),
        ("audio/L16", "", ["raw", "pcm"]),
        ("image/x-none", "a.png", ["x-none"]),
        ("application/octet-stream", "photo.JPEG", ["jpg", "jpeg"]),
        ("", "sound.raw", ["raw", "pcm"]),
        ("", "a.xyz", ["xyz"]),
        ("", "noending", []),
        ("", "", []),
    ],
)
def test_encodings_of_a_file(media_type: str, file_name: str, names: list[str]) -> None:
    assert encodings(media_type, file_name) == names


@pytest.mark.parametrize(
    ("data_type", "encoding", "media_type"),
    [
        (DataType.TEXT, "gbk", "text/plain; charset=utf-8"),
        (DataType.IMAGE, "JPG", "image/jpeg"),
        (DataType.IMAGE, "", "application/octet-stream"),
        (DataType.IMAGE, "mp3", "application/octet-stream"),
        (DataType.AUDIO, "lame", "audio/mpeg"),
        (DataType.OTHER, "npy", "application/x-npy"),
    ],
)
def test_media_type_of_an_output(data_type: DataType, encoding: str, media_type: str) -> None:
    assert media_type_of(data_type, encoding) == media_type
