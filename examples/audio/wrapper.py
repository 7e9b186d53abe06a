"""Demo service `audio`: return the duration, the level and the spoken segments of a WAV."""

import io
import wave

import numpy as np

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
        sample_count = len(pcm) // (2 * channels) * channels
        mono = np.frombuffer(pcm, "<i2", sample_count).reshape(-1, channels).mean(axis=1) / 32768
        frame_size = max(1, rate // 50)  # frames of 20 ms
        frames = np.pad(mono, (0, -len(mono) % frame_size)).reshape(-1, frame_size)
        loud = np.flatnonzero(decibels(frames) > params["threshold"])
        pauses = np.flatnonzero(np.diff(loud) > 10) + 1  # more than 0.2 s
        runs = [run for run in np.split(loud, pauses) if len(run)]
        frame_s = frame_size / rate
        speech = [(float(run[0] * frame_s), float((run[-1] + 1) * frame_s)) for run in runs]
        return {
            "segments": {
                "duration_s": round(len(mono) / rate, 3),
                "sample_rate": rate,
                "rms_db": round(float(decibels(mono[None])[0]), 2),
                "speech": [{"start_s": round(a, 2), "end_s": round(b, 2)} for a, b in speech],
            }
        }


def decibels(frames):
    """Return the RMS level of each row of `frames`, in dB of full scale, at least -180."""
    return 20 * np.log10(np.maximum(np.sqrt((frames**2).mean(axis=1)), 1e-9))
