"""WAV files: the samples and their format, from the chunks of a RIFF file. Pure.

Source: Multimedia Programming Interface and Data Specifications 1.0 (RIFF, WAVE), and for
WAVE_FORMAT_EXTENSIBLE the documentation of WAVEFORMATEXTENSIBLE. The module `wave` of the standard
library reads neither extensible files nor those of unknown length (Python 3.11).
"""

import struct
from dataclasses import dataclass
from typing import Final

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_FORMAT_NAMES: Final = {_FLOAT: "floating point", 2: "ADPCM", 6: "A-law", 7: "mu-law", 85: "MP3"}
# Sizes of the file and of `data` as written by programs that cannot seek.
_UNKNOWN_SIZES: Final = (0, 0xFFFFFFFF)
_FORMAT_SIZE: Final = 16  # bytes of `fmt ` for PCM
_EXTENSIBLE_SIZE: Final = 40


class WavError(ValueError):
    """A WAV file whose samples cannot be used; `str()` says why."""


@dataclass(frozen=True, slots=True)
class Wav:
    """PCM samples: `rate` per second and channel, `bits` each, interleaved in `data`."""

    rate: int
    channels: int
    bits: int
    data: bytes

    @property
    def frame_size(self) -> int:
        """Return the bytes of one sample of every channel."""
        return self.channels * (self.bits // 8)


def is_wav(data: bytes) -> bool:
    """Return whether `data` begins as a WAV file."""
    return data[:4] == b"RIFF" and data[8:12] == b"WAVE"


def parse(data: bytes) -> Wav:
    """Return the samples of a WAV file.

    A `data` chunk of unknown size, or one that is cut, lasts to the end of the file. Raises
    WavError if the file has no samples in PCM.
    """
    format_chunk, position = b"", 12
    is_streamed = data[4:8] in (bytes(4), b"\xff" * 4)
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        position += 8
        if name == b"fmt ":
            format_chunk = data[position : position + size]
        elif name == b"data":
            is_unknown = size in _UNKNOWN_SIZES and (size or is_streamed)
            end = len(data) if is_unknown else position + size
            return _with_format(format_chunk, data[position:end])
        position += size + size % 2
    raise WavError("the WAV file has no samples")


def _with_format(format_chunk: bytes, samples: bytes) -> Wav:
    if len(format_chunk) < _FORMAT_SIZE:
        raise WavError("the WAV file does not say how its samples are coded")
    code, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", format_chunk)
    if code == _EXTENSIBLE and len(format_chunk) >= _EXTENSIBLE_SIZE:
        (code,) = struct.unpack_from("<H", format_chunk, 24)  # of the sub format
    if code != _PCM:
        name = _FORMAT_NAMES.get(code, f"format {code}")
        raise WavError(f"the WAV file has {name} samples; convert it to 16-bit PCM")
    if not channels or not rate or not bits or bits % 8:
        raise WavError(f"the WAV file has {channels} channels of {bits}-bit samples at {rate} Hz")
    wav = Wav(rate, channels, bits, samples)
    return Wav(rate, channels, bits, samples[: len(samples) // wav.frame_size * wav.frame_size])
