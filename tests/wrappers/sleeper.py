"""A wrapper whose requests take 50 ms each."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aseloader import Context, Data, Input, Output, Outputs, Wrapper


class Sleeper(Wrapper):
    """Answers with its input, 50 ms later."""

    service = "sleeper"
    total = 4
    queue = 0

    text = Input("text", max_bytes=1024)
    said = Output("text")

    async def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        await asyncio.sleep(0.05)
        return {"said": inputs["text"].data}
