"""A service with inputs and outputs of every kind, for plain requests."""

from typing import Any

from aseloader import Boolean, Choice, Input, Integer, Number, Output, String, Wrapper


class Forms(Wrapper):
    """Gives back what it was given."""

    service = "forms"
    width = Integer(1, 512, default=64)
    scale = Number(0, 10, default=1)
    grey = Boolean(default=False)
    title = String(max_length=20, default="")
    mode = Choice("fast", "fine", default="fast")
    text = Input("text", required=False, max_bytes=1000)
    picture = Input("image", encodings=("png", "jpg"), required=False, max_bytes=100_000)
    data = Input("json", required=False)
    note = Output("text")
    facts = Output("json")
    thumbnail = Output("image", encodings=("png", "jpg"))

    def once(self, params: Any, inputs: Any, context: Any) -> Any:
        text = inputs["text"].data if "text" in inputs else b""
        picture = inputs["picture"].data if "picture" in inputs else b""
        facts = {"params": dict(params), "data": inputs.get("data")}
        return {"note": text, "facts": facts, "thumbnail": picture}
