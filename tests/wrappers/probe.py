"""A wrapper that behaves as it is told: it answers, refuses, raises, or holds on."""

import asyncio
import logging
import os
import threading
from collections.abc import Mapping
from typing import Any

from aseloader import Choice, Context, Data, Input, Integer, Output, Outputs, Refused, Wrapper

logger = logging.getLogger("test.probe")


def _log_extra(context: Context) -> dict[str, Any]:
    request_id = context.headers.get("request_id", "")
    return {"sid": context.sid, "request_id": request_id, "cancelled": context.cancelled}


class Probe(Wrapper):
    """Answers with its input in capitals, and with what it was given."""

    service = "probe"
    total = 2
    queue = 0

    act = Choice("answer", "refuse", "raise", "undeclared", "hold", "bare", default="answer")
    number = Integer(0, 100, default=7)
    text = Input("text", max_bytes=1024)
    said = Output("text")
    facts = Output("text", format="json")

    async def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        match params["act"]:
            case "refuse":
                raise Refused("not this one")
            case "raise":
                raise ValueError("a secret of the model")
            case "undeclared":
                return {"surprise": b"!"}
            case "bare":
                return {}
            case "hold":
                await self.hold(context)
        return {
            "said": inputs["text"].data.upper(),
            "facts": {
                "pid": os.getpid(),
                "number": params["number"],
                "sid": context.sid,
                "headers": dict(context.headers),
            },
        }

    async def hold(self, context: Context) -> None:
        """Hold on until nobody waits any more."""
        logger.info("held", extra=_log_extra(context))
        try:
            await asyncio.Event().wait()
        finally:
            logger.info("let go", extra=_log_extra(context))


class Idempotent(Probe):
    """The same, and asking twice does no harm."""

    service = "probe2"
    idempotent = True


class Slow(Probe):
    """Holds on in a thread, until nobody waits."""

    service = "slow"
    total = 1

    def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        if params["act"] == "hold":
            logger.info("held", extra=_log_extra(context))
            waiting = threading.Event()
            while not context.cancelled:
                waiting.wait(0.01)
            logger.info("let go", extra=_log_extra(context))
        return {"said": b"slow"}


class Broken(Wrapper):
    """Its model does not load."""

    service = "broken"
    said = Output("text")

    def init(self, config: Mapping[str, str]) -> None:
        raise RuntimeError("no weights here")

    def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        return {}
