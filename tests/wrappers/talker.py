"""A wrapper that streams: it says back what it hears, and behaves as it is told."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aseloader import Choice, Context, Data, Input, Integer, Output, Refused, Wrapper

logger = logging.getLogger("test.talker")


class Talker(Wrapper):
    """Answers each frame in capitals."""

    service = "talker"
    total = 64

    act = Choice("echo", "hold", "raise", "refuse", "undeclared", "flood", "end", default="echo")
    many = Integer(1, 100_000, default=1)
    text = Input("text", max_bytes=65536)
    said = Output("text")
    facts = Output("text", format="json")

    async def session(
        self, params: Mapping[str, Any], inputs: AsyncIterator[Mapping[str, Data]], context: Context
    ) -> AsyncIterator[dict[str, Any]]:
        logger.info("began", extra={"sid": context.sid})
        try:
            async for frame in inputs:
                match params["act"]:
                    case "refuse":
                        raise Refused("not this one")
                    case "raise":
                        raise ValueError("a secret of the model")
                    case "undeclared":
                        yield {"surprise": b"!"}
                    case "hold":
                        await asyncio.Event().wait()
                    case "end":
                        return
                    case "flood":
                        for number in range(params["many"]):
                            yield {"said": b"x" * 1024, "facts": {"number": number}}
                if "text" in frame:
                    yield {"said": frame["text"].data.upper()}
        finally:
            logger.info("over", extra={"sid": context.sid})
