"""Class attributes that declare an API: parameters, inputs and outputs.

Each parameter has the JSON Schema of its value, and parses its value from the text in a frame.
Pure: no I/O, no clock.
"""

from collections.abc import Mapping
from typing import Any

from schemas.model.service import DataType


class Parameter:
    """Base class of the parameters of a service. Declare one of its subclasses.

        class Resize(Wrapper):
            width = Integer(16, 4096, default=256, doc="width in pixels")
            format = Choice("png", "jpeg", required=True)

    The wrapper reads the value as `params["width"]`. If a parameter is absent, its value is
    `default`; if it is `required`, the request is rejected. `doc` is its description in the schema.
    """

    # A frame's "" means null or absent, except for a String, which may have that value.
    may_be_empty = False

    def __init__(self, *, default: Any = None, required: bool = False, doc: str = "") -> None:
        self.default = default
        self.required = required
        self.doc = doc

    def rules(self) -> dict[str, Any]:
        """Return the JSON Schema of the value, with its default and description."""
        rules = dict(self._rules())
        if self.default is not None:
            rules["default"] = self.default
        if self.doc:
            rules["description"] = self.doc
        return rules

    def parse(self, text: str) -> Any:
        """Parse the text of the parameter in a frame. Raises ValueError if it is not a value."""
        return text

    def _rules(self) -> Mapping[str, Any]:
        return {"type": "string"}


class Integer(Parameter):
    """A parameter that is an integer.

        width = Integer(16, 4096, default=256)

    It is at least `minimum` and at most `maximum`, if they are given.
    """

    def __init__(
        self, minimum: int | None = None, maximum: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._bounds = {"minimum": minimum, "maximum": maximum}

    def parse(self, text: str) -> int:
        """Parse an integer. "200" and "200.0" are the same. Raises ValueError."""
        number = float(text) if "." in text else int(text)
        if number != int(number):
            raise ValueError("must be a whole number")
        return int(number)

    def _rules(self) -> Mapping[str, Any]:
        bounds = {name: bound for name, bound in self._bounds.items() if bound is not None}
        return {"type": "integer", **bounds}


class Number(Parameter):
    """A parameter that is a number.

        threshold = Number(-90, 0, default=-35)

    It is at least `minimum` and at most `maximum`, if they are given.
    """

    def __init__(
        self, minimum: float | None = None, maximum: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._bounds = {"minimum": minimum, "maximum": maximum}

    def parse(self, text: str) -> float:
        """Parse a number. Raises ValueError."""
        return float(text)

    def _rules(self) -> Mapping[str, Any]:
        bounds = {name: bound for name, bound in self._bounds.items() if bound is not None}
        return {"type": "number", **bounds}


class Boolean(Parameter):
    """A parameter that is true or false.

        punctuate = Boolean(default=True)

    The wrapper reads it as a `bool`.
    """

    def parse(self, text: str) -> bool:
        """Parse "true" or "false". Raises ValueError for any other text."""
        if text not in ("true", "false"):
            raise ValueError("must be true or false")
        return text == "true"

    def _rules(self) -> Mapping[str, Any]:
        return {"type": "boolean"}


class String(Parameter):
    """A parameter that is a text.

        language = String(max_length=5, pattern="^[a-z]{2}(-[A-Z]{2})?$", default="en")

    It has `min_length` to `max_length` characters, and matches `pattern` if one is given (the
    keyword `pattern` of JSON Schema, a regular expression).
    """

    may_be_empty = True

    def __init__(
        self, *, min_length: int = 0, max_length: int = 1024, pattern: str = "", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._constraints = {"minLength": min_length, "maxLength": max_length}
        if pattern:
            self._constraints["pattern"] = pattern  # type: ignore[assignment]

    def _rules(self) -> Mapping[str, Any]:
        return {"type": "string", **self._constraints}


class Choice(Parameter):
    """A parameter that is one of some texts.

        format = Choice("png", "jpeg", "webp", default="png")

    The allowed values are `choices`.
    """

    def __init__(self, *choices: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._choices = list(choices)

    def _rules(self) -> Mapping[str, Any]:
        return {"type": "string", "enum": self._choices}


def _payload_kind(name: str) -> DataType:
    kinds = {kind.key: kind for kind in DataType}
    if name not in kinds:
        raise ValueError(f"{name!r} is no kind of payload; there is: {', '.join(kinds)}")
    return kinds[name]


class Input:
    """A payload of the request.

        audio = Input("audio", encodings=("wav",), max_bytes=1_048_576)

    The wrapper reads it as `inputs["audio"]`, a `Data`. The bytes are as the client sent them: a
    text need not be UTF-8. `kind` is text, audio, image, video or other. `encodings` are the values
    that its attribute `encoding` may have; empty means any. `max_bytes` limits its size, 10 MiB by
    default. Raises ValueError for an unknown `kind`.
    """

    def __init__(
        self,
        kind: str,
        *,
        encodings: tuple[str, ...] = (),
        max_bytes: int = 10 * 1024 * 1024,
        required: bool = True,
    ) -> None:
        self.kind = _payload_kind(kind)
        self.encodings = encodings
        self.max_bytes = max_bytes
        self.required = required


class Output:
    """A payload of the response.

        facts = Output("text", format="json")

    `kind` and `encodings` are as for `Input`. With `format="json"` the client gets the JSON value
    itself, not base64. Raises ValueError for an unknown `kind`.
    """

    def __init__(
        self,
        kind: str,
        *,
        encodings: tuple[str, ...] = (),
        format: str = "",  # noqa: A002 (the name of the field in the envelope)
    ) -> None:
        self.kind = _payload_kind(kind)
        self.encodings = encodings
        self.format = format
