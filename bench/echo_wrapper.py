"""The wrapper of the stream bench: its session echoes each frame of audio."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from aseloader import Data, Input, Integer, Output, String, Wrapper


class Echo(Wrapper):
    """Echoes each audio frame of a session."""

    service = "echo"
    total = 10_000

    lang = String(default="en")
    size = Integer(1, 99, default=12)
    audio = Input("audio", encodings=("raw",))
    said = Output("audio")

    async def session(
        self,
        params: Mapping[str, Any],  # noqa: ARG002 (an echo ignores its parameters)
        inputs: AsyncIterator[Mapping[str, Data]],
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the audio of each input frame as the output `said`."""
        async for frame in inputs:
            yield {"said": frame["audio"].data}
