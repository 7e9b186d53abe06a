"""A wrapper that says how many requests it has in progress."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aseloader import Context, Data, Input, Output, Outputs, Wrapper


class Crowd(Wrapper):
    """Answers with the number of requests in progress, 50 ms later."""

    service = "crowd"
    total = 16

    text = Input("text", max_bytes=1024)
    said = Output("text")
    running = 0

    async def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        self.running += 1
        count = self.running
        await asyncio.sleep(0.05)
        self.running -= 1
        return {"said": str(count).encode()}
