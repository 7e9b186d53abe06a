"""The loader SDK: declare an API, write `once`, and it is served, balanced and called over HTTP."""

from aseloader.fields import Boolean, Choice, Input, Integer, Number, Output, String
from aseloader.wrapper import Context, Data, Outputs, Refused, Wrapper

__all__ = [
    "Boolean",
    "Choice",
    "Context",
    "Data",
    "Input",
    "Integer",
    "Number",
    "Output",
    "Outputs",
    "Refused",
    "String",
    "Wrapper",
]
