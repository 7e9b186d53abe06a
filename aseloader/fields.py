"""What a wrapper declares as class attributes: parameters, inputs and outputs. Pure.

Each parameter knows its rules in the schema, and how to read its value from a frame's text.
"""

from collections.abc import Mapping
from typing import Any

from schemas.model.service import DataType


class Parameter:
    """A parameter of a service. Without `default` and not `required`, an absent one is None."""

    may_be_empty = False  # a frame's "" is null or left out, but for a text

    def __init__(self, *, default: Any = None, required: bool = False, doc: str = "") -> None:
        self.default = default
        self.required = required
        self.doc = doc

    def rules(self) -> dict[str, Any]:
        """Return the schema of the value."""
        rules = dict(self._rules())
        if self.default is not None:
            rules["default"] = self.default
        if self.doc:
            rules["description"] = self.doc
        return rules

    def parse(self, text: str) -> Any:
        """Return the value that a frame's text stands for. Raises ValueError when it is none."""
        return text

    def _rules(self) -> Mapping[str, Any]:
        return {"type": "string"}


class Integer(Parameter):
    """A whole number, within `minimum` and `maximum` where they are given."""

    def __init__(
        self, minimum: int | None = None, maximum: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._bounds = {"minimum": minimum, "maximum": maximum}

    def parse(self, text: str) -> int:
        """Return the number; "200" and "200.0" are the same."""
        number = float(text) if "." in text else int(text)
        if number != int(number):
            raise ValueError("must be a whole number")
        return int(number)

    def _rules(self) -> Mapping[str, Any]:
        bounds = {name: bound for name, bound in self._bounds.items() if bound is not None}
        return {"type": "integer", **bounds}


class Number(Parameter):
    """A number, within `minimum` and `maximum` where they are given."""

    def __init__(
        self, minimum: float | None = None, maximum: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._bounds = {"minimum": minimum, "maximum": maximum}

    def parse(self, text: str) -> float:
        """Return the number."""
        return float(text)

    def _rules(self) -> Mapping[str, Any]:
        bounds = {name: bound for name, bound in self._bounds.items() if bound is not None}
        return {"type": "number", **bounds}


class Boolean(Parameter):
    """True or false."""

    def parse(self, text: str) -> bool:
        """Return the truth; on the wire it is the word."""
        if text not in ("true", "false"):
            raise ValueError("must be true or false")
        return text == "true"

    def _rules(self) -> Mapping[str, Any]:
        return {"type": "boolean"}


class String(Parameter):
    """A text of `min_length` to `max_length` characters that fits `pattern`, if one is given."""

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
    """One of the given words."""

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
    """A payload that comes in: `kind` is text, audio, image, video or other.

    `encodings` are the values that its `encoding` may have (none: any); `max_bytes` bounds it.
    The bytes are the caller's as they are: a text need not be UTF-8. Raises ValueError.
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
    """A payload that goes out. With `format="json"` clients see the JSON itself, not base64."""

    def __init__(self, kind: str, *, encodings: tuple[str, ...] = (), format: str = "") -> None:  # noqa: A002 (the envelope's own word)
        self.kind = _payload_kind(kind)
        self.encodings = encodings
        self.format = format
