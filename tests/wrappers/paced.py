"""A wrapper that takes as long as each request says, times the slowness of its process."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from aseloader import Context, Data, Input, Integer, Output, Outputs, Wrapper

SLOWNESS = float(os.environ.get("PACED_SLOWNESS", "1"))


class Paced(Wrapper):
    """Sleeps for `ms` milliseconds, eight requests at a time."""

    service = "paced"
    total = 8

    ms = Integer(0, 10_000, default=0)
    text = Input("text")
    done = Output("text")

    async def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        await asyncio.sleep(params["ms"] / 1000 * SLOWNESS)
        return {"done": b"done"}
