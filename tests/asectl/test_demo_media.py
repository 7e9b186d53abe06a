"""Pictures and sounds that the demo services show as a viewer would, or refuse with the reason."""

import io
from typing import Any

import pytest
from PIL import Image

from aseloader import Data, Refused
from aseloader.loading import load
from tests.asectl.test_wav import PCM_GUID, extensible, wav_file
from tests.harness import ROOT

PARAMS = {"width": 64, "format": "png", "quality": 90}


def thumbnail(picture: Image.Image, file_format: str, **options: Any) -> Image.Image:
    """Return the thumbnail that the service makes of a picture."""
    file = io.BytesIO()
    picture.save(file, file_format, **options.pop("save", {}))
    wrapper: Any = load(str(ROOT / "examples/image/wrapper.py"))()
    inputs = {"image": Data(file.getvalue())}
    return Image.open(io.BytesIO(wrapper.once(PARAMS | options, inputs, None)["thumbnail"].data))


@pytest.mark.parametrize(
    ("orientation", "size", "red"),
    [(1, (64, 32), (2, 2)), (6, (64, 128), (60, 2)), (3, (64, 32), (60, 28))],
)
def test_orientation_of_a_photo_is_applied(
    orientation: int, size: tuple[int, int], red: tuple[int, int]
) -> None:
    """Phones store the picture as the sensor saw it; the first corner is red."""
    picture = Image.new("RGB", (200, 100), "white")
    picture.paste((255, 0, 0), (0, 0, 40, 40))
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = thumbnail(picture, "JPEG", save={"exif": exif, "quality": 95})
    assert result.size == size
    assert result.convert("RGB").getpixel(red)[1] < 60  # type: ignore[index, operator]
    assert 0x0112 not in result.getexif()


def test_16_bit_grey_keeps_its_shades() -> None:
    picture = Image.new("I;16", (256, 64))
    for x in range(256):
        picture.paste(x * 257, (x, 0, x + 1, 64))
    result = thumbnail(picture, "PNG").convert("L")
    shades = [result.getpixel((x, 8)) for x in (0, 31, 63)]
    assert shades == [pytest.approx(2, abs=4), pytest.approx(126, abs=4), pytest.approx(253, abs=4)]


@pytest.mark.parametrize(
    ("output_format", "corner"),
    [("png", (0, 0, 0, 0)), ("webp", (0, 0, 0, 0)), ("jpeg", (255, 255, 255, 255))],
)
def test_transparent_pixels_stay_transparent_or_become_white(
    output_format: str, corner: tuple[int, ...]
) -> None:
    picture = Image.new("RGBA", (100, 100), (0, 0, 0, 0))
    picture.paste((0, 128, 255, 255), (30, 30, 70, 70))
    result = thumbnail(picture, "PNG", format=output_format).convert("RGBA")
    pixel: Any = result.getpixel((2, 2))
    assert pixel[3] == corner[3]
    if corner[3]:
        assert all(channel > 250 for channel in pixel)
    middle: Any = result.getpixel((32, 32))
    assert (middle[0] < 12, abs(middle[1] - 128) < 12, middle[2] > 243) == (True, True, True)


def test_palette_picture_with_a_transparent_colour() -> None:
    picture = Image.new("P", (64, 64), 0)
    picture.putpalette([255, 0, 0, 0, 255, 0])
    result = thumbnail(picture, "PNG", save={"transparency": 0})
    assert result.mode == "RGBA"


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (wav_file(3, 32), "unknown format: 3"),
        (extensible(PCM_GUID), "unknown format"),
        (b"RIFF\0\0\0\0" + wav_file(size=0)[8:], "does not say how long it is"),
        (b"RIFF\xff\xff\xff\xff" + wav_file()[8:], "does not say how long it is"),
    ],
)
def test_sounds_that_are_not_read_are_refused_with_the_reason(file: bytes, reason: str) -> None:
    wrapper: Any = load(str(ROOT / "examples/audio/wrapper.py"))()
    try:
        result = wrapper.once({"threshold": -35}, {"audio": Data(file)}, None)
    except Refused as refusal:
        assert reason in str(refusal)
    else:
        assert file == extensible(PCM_GUID), "Python 3.12 reads it"
        assert result["segments"]["sample_rate"] == 8000
