"""Demo service `vad`: find spoken segments in PCM audio while it is still arriving."""

import sys
from array import array
from math import log10, sqrt
from operator import mul

from aseloader import Input, Integer, Number, Output, Refused, Wrapper


class Vad(Wrapper):
    """Find spoken segments in 16-bit mono PCM by their energy, as the audio arrives."""

    service = "vad"
    total = 16

    threshold = Number(-90, 0, default=-35, doc="level of a spoken frame, dB of full scale")
    pause = Integer(20, 5000, default=200, doc="silence that ends a segment, ms")
    rate = Integer(8000, 48_000, default=16_000, doc="samples a second")
    audio = Input("audio", encodings=("raw",), max_bytes=1_048_576)
    segment = Output("text", format="json")

    async def session(self, params, inputs):
        finder = None
        async for frame_inputs in inputs:
            audio, attributes = frame_inputs["audio"].data, frame_inputs["audio"].attributes
            if len(audio) % 2:
                raise Refused("16-bit samples are two bytes each")
            if finder is None:
                if (attributes.get("channels", "1"), attributes.get("bit_depth", "16")) != (
                    "1",
                    "16",
                ):
                    raise Refused("one channel of 16-bit samples is what it takes")
                rate = int(attributes.get("sample_rate", params["rate"]))
                if not 8000 <= rate <= 48_000:
                    raise Refused("sample_rate must be 8,000 to 48,000")
                finder = Finder(rate, params["threshold"], params["pause"] / 1000)
            for segment in finder.feed(audio):
                yield {"segment": segment}
        if finder is None:
            raise Refused("no audio came")
        for segment in finder.finish():
            yield {"segment": segment}


class Finder:
    """Finds spoken segments in a stream of samples, frame by frame of 20 ms.

    Pieces may have any even number of bytes: `_remainder` keeps the samples after the last whole
    frame. `_now_s` is the end of the frames seen so far. `_segment_start_s` and `_speech_end_s` are
    the bounds of the open segment; the first is None if there is none. `pause` is the silence that
    ends a segment. All are in seconds.
    """

    def __init__(self, rate: int, threshold: float, pause: float) -> None:
        self._frame_size = rate // 50
        self._threshold = threshold
        self._pause = pause
        self._remainder = array("h")
        self._now_s = 0.0
        self._segment_start_s: float | None = None
        self._speech_end_s = 0.0
        self._segment_count = 0

    def feed(self, data: bytes):
        """Return an event for each segment that began or ended with these samples."""
        new_samples = array("h", data)
        if sys.byteorder == "big":
            new_samples.byteswap()
        samples = self._remainder + new_samples
        usable_count = len(samples) // self._frame_size * self._frame_size
        self._remainder = samples[usable_count:]
        segments = []
        for start in range(0, usable_count, self._frame_size):
            frame = samples[start : start + self._frame_size]
            rms = sqrt(sum(map(mul, frame, frame)) / self._frame_size) / 32768
            level = 20 * log10(max(rms, 1e-9))
            frame_start_s, self._now_s = self._now_s, self._now_s + 0.02
            if level > self._threshold:
                if self._segment_start_s is None:
                    self._segment_start_s = frame_start_s
                    segments.append(self._segment_event("began", frame_start_s))
                self._speech_end_s = self._now_s
            elif (
                self._segment_start_s is not None
                and self._now_s - self._speech_end_s >= self._pause - 1e-9
            ):
                segments += self.finish()
        return segments

    def finish(self):
        """End the open segment and return its event in a list, empty if there was none."""
        if self._segment_start_s is None:
            return []
        segment = self._segment_event("ended", self._segment_start_s)
        self._segment_start_s, self._segment_count = None, self._segment_count + 1
        return [segment]

    def _segment_event(self, event: str, start_s: float):
        segment = {
            "number": self._segment_count,
            "event": event,
            "start_s": round(start_s, 2),
        }
        return segment | ({"end_s": round(self._speech_end_s, 2)} if event == "ended" else {})
