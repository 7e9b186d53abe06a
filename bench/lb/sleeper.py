"""A loader whose work is to sleep, so that its capacity does not depend on the processor."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aseloader import Context, Data, Number, Output, Outputs, Wrapper


class Sleeper(Wrapper):
    """Sleeps for `ms` milliseconds divided by `speed`, a key of the configuration of `init`."""

    service = "bench"
    ms = Number(0.0, 3_600_000.0, default=0.0)
    done = Output("text")

    def init(self, config: Mapping[str, str]) -> None:
        """Read `speed` from the configuration; the default is 1."""
        self.speed = float(config.get("speed", "1"))

    async def once(
        self, params: Mapping[str, Any], _inputs: Mapping[str, Data], _context: Context
    ) -> Outputs:
        """Sleep for `ms` / `speed` milliseconds and return an empty output `done`."""
        await asyncio.sleep(params["ms"] / 1000 / self.speed)
        return {"done": b""}
