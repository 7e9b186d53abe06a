"""The loader of the stream bench: it says back what it hears, frame by frame."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from aseloader import Data, Input, Integer, Output, String, Wrapper


class Echo(Wrapper):
    """Says back what it hears."""

    service = "echo"
    total = 10_000

    lang = String(default="en")
    size = Integer(1, 99, default=12)
    audio = Input("audio", encodings=("raw",))
    said = Output("audio")

    async def session(
        self,
        params: Mapping[str, Any],  # noqa: ARG002 (it has no use for them)
        inputs: AsyncIterator[Mapping[str, Data]],
    ) -> AsyncIterator[dict[str, Any]]:
        """Say each frame back."""
        async for frame in inputs:
            yield {"said": frame["audio"].data}
