"""A wrapper that takes whatever its schema lets pass, for those who try everything."""

from collections.abc import Mapping
from typing import Any

from aseloader import (
    Boolean,
    Choice,
    Context,
    Data,
    Input,
    Integer,
    Number,
    Output,
    Outputs,
    String,
    Wrapper,
)


class Echo(Wrapper):
    """Gives its input back."""

    service = "echo"
    lang = Choice("en", "zh", default="en")
    size = Integer(minimum=1, maximum=99, required=True)
    rate = Number(minimum=0, maximum=1, default=0.5)
    exact = Boolean()
    word = String(min_length=1, max_length=9, pattern="^[a-z]+$")
    image = Input("image", encodings=("png", "jpg"), max_bytes=4096)
    hint = Input("text", max_bytes=64, required=False)
    seen = Output("image")
    facts = Output("text", format="json")

    def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        """Give the image back, and what was asked."""
        return {"seen": inputs["image"].data, "facts": dict(params)}
