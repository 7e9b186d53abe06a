"""Payload bytes as the Python type that an author declares, and values of such types as bytes.

numpy and Pillow are used only where an author uses them. Pure: no I/O, no clock.
"""

import io
import math
import wave
from collections.abc import Callable
from typing import Any

from aseloader.types.json_values import is_class_of
from schemas.model.service import DataType

_SUPPORTED = "bytes, str, numpy.ndarray or PIL.Image.Image"
_PNG = "png"
# Pillow's names of the encodings that a picture may be sent in. A client may ask for any of them.
_IMAGE_FORMATS = {
    "png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP", "bmp": "BMP", "gif": "GIF",
    "tiff": "TIFF", "tif": "TIFF",
}  # fmt: skip


class UnknownEncodingError(ValueError):
    """An encoding that a picture cannot be sent in; the request may have chosen it."""


def payload_reader(declared_type: Any, kind: DataType) -> Callable[[bytes], Any]:
    """Return the function that converts the bytes of an input of `kind` to `declared_type`.

    It raises ValueError for bytes that are no such value. Raises TypeError if there is no
    conversion.
    """
    if declared_type is bytes:
        return bytes
    if declared_type is str:
        return _read_text
    if is_class_of(declared_type, "PIL.Image", "Image") and kind is DataType.IMAGE:
        return _read_picture
    if is_class_of(declared_type, "numpy", "ndarray"):
        if kind is DataType.IMAGE:
            return _read_pixels
        if kind is DataType.AUDIO:
            return _read_samples
        if kind is DataType.OTHER:
            return _read_array
    name = getattr(declared_type, "__name__", declared_type)
    raise TypeError(f"{name} is no type of an input of kind {kind.key}: {_SUPPORTED}")


def payload_bytes(value: Any, kind: DataType, encoding: str) -> tuple[bytes, str] | None:
    """Return the bytes of a picture or an array, and their encoding; None for any other value.

    A picture, or an array of pixels if the output is an image, is encoded as `encoding`, or as png
    if that is empty. An array of another kind of output has the format of `numpy.save`, encoding
    "npy". Raises UnknownEncodingError for an encoding of no picture, ValueError if the value cannot
    be encoded.
    """
    if is_class_of(type(value), "PIL.Image", "Image"):
        return _encode_picture(value, encoding or _PNG)
    if not is_class_of(type(value), "numpy", "ndarray"):
        return None
    if kind is DataType.IMAGE:
        from PIL import Image

        try:
            picture = Image.fromarray(value)
        except TypeError as error:
            raise ValueError(f"is no array of pixels: {error}") from error
        return _encode_picture(picture, encoding or _PNG)
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=False)
    return buffer.getvalue(), "npy"


def _read_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8: byte {error.start}") from error


def _read_picture(data: bytes) -> Any:
    from PIL import Image

    try:
        picture = Image.open(io.BytesIO(data))
        picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"is no picture that can be read: {error}") from error
    return picture


def _read_pixels(data: bytes) -> Any:
    import numpy as np

    picture = _read_picture(data)
    return np.asarray(picture if picture.mode in ("RGB", "L") else picture.convert("RGB"))


def _read_samples(data: bytes) -> Any:
    """Return the 16-bit samples of WAV or raw PCM: (samples,), or (samples, channels)."""
    import numpy as np

    channels = 1
    if data[:4] == b"RIFF":
        try:
            with wave.open(io.BytesIO(data)) as sound:
                if sound.getsampwidth() != 2:
                    raise ValueError("must have 16 bits per sample")
                channels, data = sound.getnchannels(), sound.readframes(sound.getnframes())
        except (wave.Error, EOFError) as error:
            raise ValueError(f"is no WAV that can be read: {error}") from error
    if len(data) % (2 * channels):
        raise ValueError("has half a sample: samples have 16 bits")
    samples = np.frombuffer(data, "<i2")
    return samples if channels == 1 else samples.reshape(-1, channels)


def _read_array(data: bytes) -> Any:
    """Return the array of a .npy file. The size that its header claims is checked first."""
    import numpy as np

    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise ValueError(f"version {version} of the format is not read")
        shape, _, dtype = read_header(file)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data) - file.tell():
            raise ValueError("its size is not that of its header, or it has Python objects")
        return np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError, OverflowError, MemoryError, SyntaxError) as error:
        raise ValueError(f"is no array in the format of numpy.save: {error}") from error


def _encode_picture(picture: Any, encoding: str) -> tuple[bytes, str]:
    buffer = io.BytesIO()
    format_name = _IMAGE_FORMATS.get(encoding.lower())
    if format_name is None:
        available = ", ".join(_IMAGE_FORMATS)
        message = f"cannot be encoded as {encoding[:32]!r}; there is: {available}"
        raise UnknownEncodingError(message)
    try:
        picture.save(buffer, format_name)
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(f"cannot be encoded as {encoding}: {error}") from error
    return buffer.getvalue(), encoding
