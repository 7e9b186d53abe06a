"""Demo service `audio`: a WAV in; its duration, its level, and where somebody speaks, out."""

import io
import wave
from collections.abc import Mapping
from typing import Any

import numpy as np

from aseloader import Context, Data, Input, Number, Output, Outputs, Refused, Wrapper


class Speech(Wrapper):
    """Measures a 16-bit PCM WAV and finds its spoken segments by their energy."""

    service = "audio"
    total = 4
    idempotent = True

    threshold = Number(-90, 0, default=-35, doc="level of a spoken frame, dB of full scale")
    audio = Input("audio", encodings=("wav",))
    segments = Output("text", format="json")

    def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        """Read, cut into frames of 20 ms, keep the loud ones, join those close together."""
        try:
            with wave.open(io.BytesIO(inputs["audio"].data)) as told:
                rate, width, channels = (
                    told.getframerate(),
                    told.getsampwidth(),
                    told.getnchannels(),
                )
                pcm = told.readframes(told.getnframes())
        except (wave.Error, EOFError):
            raise Refused("not a readable WAV file") from None
        if width != 2 or not rate or len(pcm) < 2 * channels:
            raise Refused("the WAV must hold 16-bit PCM, and some of it")
        samples = np.frombuffer(pcm[: len(pcm) // (2 * channels) * 2 * channels], "<i2")
        mono = samples.reshape(-1, channels).mean(axis=1) / 32768
        size = max(1, rate // 50)
        frames = np.pad(mono, (0, -len(mono) % size)).reshape(-1, size)
        loud = np.flatnonzero(_decibels(frames) > params["threshold"])
        runs = np.split(loud, np.flatnonzero(np.diff(loud) > 10) + 1) if len(loud) else []
        return {
            "segments": {
                "duration_s": round(len(mono) / rate, 3),
                "sample_rate": rate,
                "rms_db": round(float(_decibels(mono[None])[0]), 2),
                "speech": [
                    {
                        "start_s": round(run[0] * size / rate, 2),
                        "end_s": round((run[-1] + 1) * size / rate, 2),
                    }
                    for run in runs
                ],
            }
        }


def _decibels(frames: Any) -> Any:
    return 20 * np.log10(np.maximum(np.sqrt((frames**2).mean(axis=1)), 1e-9))
