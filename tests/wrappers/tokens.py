"""A wrapper that says how many tokens a request used."""

from collections.abc import Iterator, Mapping
from typing import Any

from aseloader import Context, Data, Input, Output, Outputs, Wrapper


class Tokens(Wrapper):
    """Uses a token for each byte, and one more for a session."""

    service = "tokens"

    text = Input("text", max_bytes=1024)
    said = Output("text")

    def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        context.usage(tokens=len(inputs["text"].data) - 1, images=2)
        context.usage(tokens=1)
        return {"said": inputs["text"].data}

    def session(
        self, params: Mapping[str, Any], frames: Iterator[Mapping[str, Data]], context: Context
    ) -> Iterator[Outputs]:
        for frame in frames:
            context.usage(tokens=len(frame["text"].data))
            yield {"said": frame["text"].data}
        context.usage(tokens=1)
