"""A loader with a capacity of its own: it works by sleeping as long as it is told."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aseloader import Context, Data, Number, Output, Outputs, Wrapper


class Sleeper(Wrapper):
    """Sleeps `ms` milliseconds by its `speed` (init's config)."""

    service = "bench"
    ms = Number(0.0, 3_600_000.0, default=0.0)
    done = Output("text")

    def init(self, config: Mapping[str, str]) -> None:
        """Take the speed."""
        self.speed = float(config.get("speed", "1"))

    async def once(
        self, params: Mapping[str, Any], _inputs: Mapping[str, Data], _context: Context
    ) -> Outputs:
        """Sleep."""
        await asyncio.sleep(params["ms"] / 1000 / self.speed)
        return {"done": b""}
