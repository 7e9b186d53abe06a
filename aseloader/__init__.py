"""Loader SDK: declare an API and write `once`; the loader serves it behind the gateway.

    from aseloader import Input, Output, Wrapper


    class Upper(Wrapper):
        service = "upper"
        text = Input("text")
        result = Output("text")

        def once(self, params, inputs, context):
            return {"result": inputs["text"].data.upper()}

Start it with `asectl up upper.py:Upper`. Guides: `docs/loader.md` for single requests,
`docs/streaming.md` for sessions. Test helpers: `aseloader.testing`.
"""

from aseloader.fields import Boolean, Choice, Input, Integer, Number, Object, Output, String
from aseloader.functions import service
from aseloader.serving import serve
from aseloader.wrapper import Context, Data, Outputs, Refused, Wrapper

__all__ = [
    "Boolean",
    "Choice",
    "Context",
    "Data",
    "Input",
    "Integer",
    "Number",
    "Object",
    "Output",
    "Outputs",
    "Refused",
    "String",
    "Wrapper",
    "serve",
    "service",
]
