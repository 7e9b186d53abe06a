"""JSON of a declared type: its JSON Schema, and values from and to bytes. Pure.

Types are those of msgspec (https://jcristharif.com/msgspec/supported-types.html): builtins and the
generics of them, `Literal`, `Enum`, dataclasses, TypedDict, NamedTuple, attrs classes, dates,
UUIDs. Types that contain pydantic models are left to pydantic, and numpy arrays are arrays of
numbers; both are used only where they are installed.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from schemas.validation.compile import MAX_SCHEMA_NODES, count_nodes

_MAX_MESSAGE = 300  # of an error of pydantic, which lists every problem


class JsonType:
    """A type whose values are sent as JSON.

    `schema` is the JSON Schema 2020-12 of its values, without references: what a type contains of
    itself is any value. Raises TypeError if the type has no JSON form.
    """

    def __init__(self, declared_type: Any) -> None:
        schema, self._load = _describe(declared_type)
        self.schema = _without_references(schema, schema.get("$defs", {}), ())
        if count_nodes(self.schema) > MAX_SCHEMA_NODES:
            message = f"its JSON Schema has more than {MAX_SCHEMA_NODES} values"
            raise TypeError(f"{message}: types that contain each other are written out")

    def load(self, data: bytes) -> Any:
        """Return the value of JSON text. Raises ValueError with the place and what is wrong."""
        try:
            return self._load(data)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"is not of its type: {_describe_error(error)}") from error


def to_json(value: Any) -> bytes:
    """Return a value as JSON text.

    Beside the types of `json` it may contain those of `JsonType`, sets, and numpy scalars and
    arrays. Raises ValueError with what cannot be written, such as NaN.
    """
    try:
        text = json.dumps(
            value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_to_builtins
        )
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot be written as JSON: {error}") from error


def _to_builtins(value: Any) -> Any:
    """Return a value that `json` does not know as one that it knows. Raises TypeError."""
    if hasattr(value, "model_dump"):  # a pydantic model
        return value.model_dump(mode="json", by_alias=True)
    if hasattr(value, "tolist") and hasattr(value, "dtype"):  # of numpy, an array or a scalar
        return value.tolist()
    return msgspec.to_builtins(value, str_keys=True, enc_hook=_to_builtins_within)


def _to_builtins_within(value: Any) -> Any:
    if hasattr(value, "model_dump") or hasattr(value, "tolist"):
        return _to_builtins(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _describe(declared_type: Any) -> tuple[dict[str, Any], Callable[[bytes], Any]]:
    """Return the JSON Schema of a type and the function that loads its values."""
    if is_class_of(declared_type, "numpy", "ndarray"):
        return {"type": "array"}, _load_array
    try:
        schema = msgspec.json.schema(declared_type)
        return schema, msgspec.json.Decoder(declared_type).decode
    except TypeError as error:
        reason = str(error).rpartition("\n")[2]
    try:
        import pydantic
    except ImportError:
        raise TypeError(reason) from None
    try:
        adapter = pydantic.TypeAdapter(declared_type)
        return adapter.json_schema(), adapter.validate_json
    except pydantic.errors.PydanticUserError:
        raise TypeError(reason) from None


def is_class_of(candidate: Any, module: str, name: str) -> bool:
    """Return whether `candidate` is the class `name` of `module`, or a subclass of it."""
    return isinstance(candidate, type) and any(
        base.__module__ == module and base.__name__ == name for base in candidate.__mro__
    )


def _load_array(data: bytes) -> Any:
    import numpy as np

    return np.asarray(msgspec.json.decode(data, type=list))


def _without_references(
    schema: Any, definitions: Mapping[str, Any], expanded: tuple[str, ...]
) -> Any:
    """Return a schema in which each `$ref` is replaced by its definition.

    `expanded` are the definitions that contain this schema: a reference to one of them becomes a
    schema without rules, since schema documents have no references.
    """
    if isinstance(schema, list):
        return [_without_references(item, definitions, expanded) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    if name in expanded:
        return {}
    if name:
        definition = _without_references(definitions[name], definitions, (*expanded, name))
        others = {key: value for key, value in schema.items() if key not in ("$ref", "$defs")}
        return definition | others
    return {
        key: _without_references(value, definitions, expanded)
        for key, value in schema.items()
        if key != "$defs"
    }


def _describe_error(error: Exception) -> str:
    problems = getattr(error, "errors", None)
    if problems is None:
        return str(error)
    listed = (
        f"{problem['msg']} - at `{'.'.join(('$', *map(str, problem['loc'])))}`"
        for problem in problems(include_url=False, include_context=False, include_input=False)
    )
    return "; ".join(listed)[:_MAX_MESSAGE]
