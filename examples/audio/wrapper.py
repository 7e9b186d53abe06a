"""Demo service `audio`: return the duration, the level and the spoken segments of a WAV."""

import io
import sys
import wave
from array import array
from math import log10, sqrt
from operator import mul

from aseloader import Input, Number, Output, Refused, Wrapper


class Speech(Wrapper):
    """Measure a 16-bit PCM WAV and find its spoken segments by their energy."""

    service = "audio"
    total = 4
    idempotent = True

    threshold = Number(-90, 0, default=-35, doc="level of a spoken frame, dB of full scale")
    audio = Input("audio", encodings=("wav",))
    segments = Output("text", format="json")

    def once(self, params, inputs, context):
        data = inputs["audio"].data
        if data[4:8] in (bytes(4), b"\xff\xff\xff\xff"):
            raise Refused("the WAV does not say how long it is: write it to a file, not to a pipe")
        try:
            with wave.open(io.BytesIO(data)) as wav:
                rate, width, channels = (
                    wav.getframerate(),
                    wav.getsampwidth(),
                    wav.getnchannels(),
                )
                pcm = wav.readframes(wav.getnframes())
        except (wave.Error, EOFError, RuntimeError) as error:
            raise Refused(f"not a WAV file of 16-bit PCM: {error or 'it ends too early'}")
        if width != 2 or not 0 < rate <= 192_000 or len(pcm) < 2 * channels:
            raise Refused("the WAV must hold 16-bit PCM of at most 192 kHz, and some of it")
        mono = mix_channels(pcm, channels)
        frame_size = max(1, rate // 50)  # frames of 20 ms
        runs: list[list[int]] = []  # first and last loud frame; pauses of at most 0.2 s
        for number in range(-(-len(mono) // frame_size)):
            frame = mono[number * frame_size : (number + 1) * frame_size]
            if decibels(frame, frame_size) <= params["threshold"]:
                continue
            if runs and number - runs[-1][1] <= 10:
                runs[-1][1] = number
            else:
                runs.append([number, number])
        frame_s = frame_size / rate
        return {
            "segments": {
                "duration_s": round(len(mono) / rate, 3),
                "sample_rate": rate,
                "rms_db": round(decibels(mono, len(mono)), 2),
                "speech": [
                    {"start_s": round(first * frame_s, 2), "end_s": round((last + 1) * frame_s, 2)}
                    for first, last in runs
                ],
            }
        }


def mix_channels(pcm, channels):
    """Return the samples, -32768 to 32767; those of several channels are averaged."""
    samples = array("h", pcm[: len(pcm) // (2 * channels) * 2 * channels])
    if sys.byteorder == "big":
        samples.byteswap()
    if channels == 1:
        return samples
    return [sum(group) / channels for group in zip(*[iter(samples)] * channels, strict=True)]


def decibels(samples, count):
    """Return the RMS level of `count` samples, zeros after the given, in dB of full scale."""
    return 20 * log10(max(sqrt(sum(map(mul, samples, samples)) / count) / 32768, 1e-9))
