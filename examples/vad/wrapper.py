"""Demo service `vad`: PCM in, frame by frame; where somebody speaks, out, while it still comes."""

import numpy as np

from aseloader import Input, Integer, Number, Output, Refused, Wrapper


class Vad(Wrapper):
    """Finds spoken segments in 16-bit mono PCM by their energy, as the audio arrives."""

    service = "vad"
    total = 16

    threshold = Number(-90, 0, default=-35, doc="level of a spoken frame, dB of full scale")
    pause = Integer(20, 5000, default=200, doc="silence that ends a segment, ms")
    rate = Integer(8000, 48_000, default=16_000, doc="samples a second")
    audio = Input("audio", encodings=("raw",), max_bytes=1_048_576)
    segment = Output("text", format="json")

    async def session(self, params, inputs):
        finder = None
        async for told in inputs:
            audio, about = told["audio"].data, told["audio"].attributes
            if len(audio) % 2:
                raise Refused("16-bit samples are two bytes each")
            if finder is None:
                if (about.get("channels", "1"), about.get("bit_depth", "16")) != ("1", "16"):
                    raise Refused("one channel of 16-bit samples is what it takes")
                rate = int(about.get("sample_rate", params["rate"]))
                if not 8000 <= rate <= 48_000:
                    raise Refused("sample_rate must be 8,000 to 48,000")
                finder = Finder(rate, params["threshold"], params["pause"] / 1000)
            for segment in finder.take(audio):
                yield {"segment": segment}
        if finder is None:
            raise Refused("no audio came")
        for segment in finder.end():
            yield {"segment": segment}


class Finder:
    """Finds segments in samples that come in pieces of any size, in frames of 20 ms."""

    def __init__(self, rate: int, threshold: float, pause: float) -> None:
        self._size = rate // 50
        self._threshold = threshold
        self._pause = pause
        self._rest = np.zeros(0)
        self._now = 0.0
        self._began = self._spoke = None
        self._told = 0

    def take(self, data: bytes):
        """Return the segments that began or ended with these samples."""
        samples = np.concatenate([self._rest, np.frombuffer(data, "<i2") / 32768])
        whole = len(samples) // self._size * self._size
        self._rest = samples[whole:]
        found = []
        for frame in samples[:whole].reshape(-1, self._size):
            level = 20 * np.log10(max(np.sqrt((frame**2).mean()), 1e-9))
            start, self._now = self._now, self._now + 0.02
            if level > self._threshold:
                if self._began is None:
                    self._began = start
                    found.append(self._segment("began"))
                self._spoke = self._now
            elif self._began is not None and self._now - self._spoke >= self._pause - 1e-9:
                found += self.end()
        return found

    def end(self):
        """Return the segment that was open."""
        if self._began is None:
            return []
        told = self._segment("ended")
        self._began, self._told = None, self._told + 1
        return [told]

    def _segment(self, event: str):
        told = {"number": self._told, "event": event, "start_s": round(self._began, 2)}
        return told | ({"end_s": round(self._spoke, 2)} if event == "ended" else {})
