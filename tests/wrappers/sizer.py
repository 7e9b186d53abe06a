"""A wrapper whose outputs are as large as it is told."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from aseloader import Context, Data, Input, Integer, Output, Outputs, Wrapper


class Sizer(Wrapper):
    """Answers with `size` bytes, once or for each frame."""

    service = "sizer"
    total = 4

    size = Integer(0, 100_000_000, default=5)
    text = Input("text", max_bytes=100_000_000)
    said = Output("text")

    def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        return {"said": b"x" * params["size"]}

    async def session(
        self, params: Mapping[str, Any], inputs: AsyncIterator[Mapping[str, Data]], context: Context
    ) -> AsyncIterator[dict[str, Any]]:
        async for _ in inputs:
            yield {"said": b"x" * params["size"]}
