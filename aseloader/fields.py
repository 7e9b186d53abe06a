"""Class attributes that declare an API: parameters, inputs and outputs.

Each parameter has the JSON Schema of its value, and parses its value from the text in a frame.
Pure: no I/O, no clock.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from aseloader.types.json_values import JsonType, to_json
from aseloader.types.payloads import payload_reader
from aseloader.wrapper import Data
from schemas.model.service import DataType

_JSON: Final = "json"  # a kind of its own for authors; on the wire it is text


class Parameter:
    """Base class of the parameters of a service. Declare one of its subclasses.

        class Resize(Wrapper):
            width = Integer(16, 4096, default=256, doc="width in pixels")
            format = Choice("png", "jpeg", required=True)

    The wrapper reads the value as `params["width"]`. If a parameter is absent, its value is
    `default`; if it is `required`, the request is rejected. `doc` is its description in the schema.
    `name` is its name in the API, if that cannot be the attribute's, such as "class".
    """

    # A frame's "" means null or absent, except for a String, which may have that value.
    may_be_empty = False

    def __init__(
        self, *, default: Any = None, required: bool = False, doc: str = "", name: str = ""
    ) -> None:
        self.default = default
        self.required = required
        self.doc = doc
        self.name = name

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

    def absent_value(self) -> Any:
        """Return the value for a request that does not have the parameter."""
        return self.default

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

    It has `min_length` to `max_length` characters, 0 to 1024 unless given, and matches `pattern` if
    one is given (the keyword `pattern` of JSON Schema, a regular expression).
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


class Object(Parameter):
    """A parameter that is a JSON object of a declared type.

        @dataclass
        class Box:
            left: int
            top: int = 0

        crop = Object(Box)

    The wrapper reads it as a value of that type: a dataclass, TypedDict, pydantic model or
    `dict[str, ...]`. Raises TypeError if the type has no JSON form or is no object.
    """

    def __init__(self, type: Any, **kwargs: Any) -> None:  # noqa: A002 (as of Input and Output)
        super().__init__(**kwargs)
        self._json_type = JsonType(type)
        if self._json_type.schema.get("type") != "object":
            raise TypeError(f"{type} is no object; other values are Integer, Number, String, ...")

    def rules(self) -> dict[str, Any]:
        """Return the JSON Schema of the value, with its default and description."""
        rules = super().rules()
        if self.default is not None:
            rules["default"] = json.loads(to_json(self.default))
        return rules

    def absent_value(self) -> Any:
        """Return the default as a value of the type, another one for each request."""
        return None if self.default is None else self._json_type.load(to_json(self.default))

    def parse(self, text: str) -> Any:
        """Parse JSON text. Raises ValueError if it is no value of the type."""
        return self._json_type.load(text.encode())

    def _rules(self) -> Mapping[str, Any]:
        rules: dict[str, Any] = self._json_type.schema
        return rules


def _payload_kind(name: str) -> DataType:
    kinds = {kind.key: kind for kind in DataType} | {_JSON: DataType.TEXT}
    if name not in kinds:
        raise ValueError(f"{name!r} is no kind of payload; there is: {', '.join(kinds)}")
    return kinds[name]


class Input:
    """A payload of the request.

        audio = Input("audio", encodings=("wav",), max_bytes=1_048_576)
        order = Input("json", type=Order)

    `kind` is text, audio, image, video, other, or json, which is text of JSON. The wrapper reads
    the payload as `inputs["audio"]`: a `Data` with the bytes as the client sent them (a text need
    not be UTF-8), or a value of `type`:

    - of kind json any type that has a JSON form: builtins and their generics such as `list[float]`,
      dataclasses, TypedDict, pydantic models, `numpy.ndarray`; without `type` any JSON value.
    - `str`, which must be UTF-8, or `bytes`.
    - of kind image `PIL.Image.Image`, or `numpy.ndarray` of pixels.
    - of kind audio `numpy.ndarray` of the 16-bit samples of WAV or raw PCM; of kind other that of
      a file of `numpy.save`.

    If the bytes are no such value, the client gets 400 with code 10107 and the reason. `encodings`
    are the values that its attribute `encoding` may have; empty means any. `max_bytes` limits its
    size, 10 MiB by default. `name` is as for a `Parameter`. Raises ValueError for an unknown
    `kind`, TypeError for a `type` that does not go with it.
    """

    def __init__(
        self,
        kind: str,
        *,
        encodings: tuple[str, ...] = (),
        max_bytes: int = 10 * 1024 * 1024,
        required: bool = True,
        type: Any = None,  # noqa: A002 (what it is)
        name: str = "",
    ) -> None:
        self.name = name
        self.kind = _payload_kind(kind)
        self.encodings = encodings
        self.max_bytes = max_bytes
        self.required = required
        self.has_type = type is not None
        self._is_json = kind == _JSON
        self.json_type = JsonType(type if self.has_type else Any) if self._is_json else None
        self._read: Callable[[bytes], Any] | None = None
        if self.json_type is not None:
            self._read = self.json_type.load
        elif type not in (None, Data):
            self._read = payload_reader(type, self.kind)

    def typed(self, type: Any) -> "Input":  # noqa: A002 (as of __init__)
        """Return this declaration with `type`, unless it has a type. Raises TypeError."""
        if self.has_type:
            return self
        return Input(
            _JSON if self._is_json else self.kind.key,
            encodings=self.encodings,
            max_bytes=self.max_bytes,
            required=self.required,
            type=type,
            name=self.name,
        )

    def read(self, data: Data) -> Any:
        """Return the value that the wrapper gets. Raises ValueError if the bytes are no such."""
        return data if self._read is None else self._read(data.data)


class Output:
    """A payload of the response.

        counts = Output("json", type=dict[str, int])
        thumbnail = Output("image", encodings=("png",))

    `kind` and `encodings` are as for `Input`. Of kind json, or with `format="json"`, clients get
    the JSON value itself, not base64. `type` is then the type of its values: clients see it in
    OpenAPI, and a value of another type is an error of the wrapper. Raises ValueError for an
    unknown `kind`, TypeError for a `type` without a JSON form.
    """

    def __init__(
        self,
        kind: str,
        *,
        encodings: tuple[str, ...] = (),
        format: str = "",  # noqa: A002 (the name of the field in the envelope)
        type: Any = None,  # noqa: A002 (what it is)
        name: str = "",
    ) -> None:
        self.name = name
        self.kind = _payload_kind(kind)
        self.encodings = encodings
        self.format = "json" if kind == _JSON else format
        if type is not None and self.format != "json":
            raise TypeError('only an Output("json") has a type')
        self.json_type = None if type is None else JsonType(type)
        # Else a `str` is a JSON string.
        self.is_text = kind != _JSON and self.json_type is None

    def typed(self, type: Any) -> "Output":  # noqa: A002 (as of __init__)
        """Return this declaration with `type`, if it is JSON and has no type. Raises TypeError."""
        if self.format != "json" or self.json_type is not None:
            return self
        return Output(_JSON, encodings=self.encodings, type=type, name=self.name)
