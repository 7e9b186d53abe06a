"""The probe's service, by a loader that fails at once, whatever it is asked."""

from collections.abc import Mapping
from typing import Any

from aseloader import Choice, Context, Data, Input, Integer, Output, Outputs, Wrapper


class Failing(Wrapper):
    """Answers with its input in capitals, and with what it was given."""

    service = "probe"
    total = 100

    act = Choice("answer", "refuse", "raise", "undeclared", "hold", "bare", default="answer")
    number = Integer(0, 100, default=7)
    text = Input("text", max_bytes=1024)
    said = Output("text")
    facts = Output("text", format="json")

    async def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        raise RuntimeError("out of order")
