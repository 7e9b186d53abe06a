"""Python annotations of values that a JSON Schema describes, as text. Pure.

Objects with declared members become classes of `TypedDict`. What the schema does not say is `Any`.
"""

import keyword
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Final

_SCALARS: Final = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
}
_ANY: Final = "Any"


class IdentifierAllocator:
    """Allocates unique Python identifiers; none of them is in `reserved`."""

    def __init__(self, reserved: Iterable[str]) -> None:
        self._used = set(reserved)

    def allocate(self, name: str) -> str:
        """Return an unused identifier derived from `name`, and reserve it.

        Other characters become "_", and none begins with more than one; "_" is appended until the
        result is unused and not a keyword. Python takes names in the form NFKC for equal.
        """
        normalized = unicodedata.normalize("NFKC", name)
        identifier = "".join(char if f"a{char}".isidentifier() else "_" for char in normalized)
        if identifier.startswith("__"):
            identifier = f"_{identifier.lstrip('_')}"
        identifier = identifier if identifier.isidentifier() else f"_{identifier}"
        while keyword.iskeyword(identifier) or identifier in self._used:
            identifier += "_"
        self._used.add(identifier)
        return identifier


class PythonTypes:
    """Annotations of one module.

    `definitions` are the classes that they name, in order, and `class_names` the names of those.
    """

    def __init__(self, allocator: IdentifierAllocator) -> None:
        self._allocator = allocator
        self.definitions: list[str] = []
        self.class_names: list[str] = []

    def annotation(self, schema: object, name: str) -> str:
        """Return the annotation of a value; `name` is what it is called, for a class."""
        if not isinstance(schema, Mapping):
            return _ANY
        if "const" in schema:
            return _literal([schema["const"]])
        if isinstance(schema.get("enum"), list):
            return _literal(schema["enum"])
        for keyword_name in ("anyOf", "oneOf"):
            parts = schema.get(keyword_name)
            if isinstance(parts, list) and parts:
                return _union([self.annotation(part, name) for part in parts])
        types = schema.get("type")
        if isinstance(types, list) and types:
            return _union([self.annotation({**schema, "type": each}, name) for each in types])
        if types == "array":
            return f"list[{self.annotation(schema.get('items'), f'{name}_item')}]"
        if types == "object":
            return self._object(schema, name)
        return _SCALARS.get(str(types), _ANY)

    def _object(self, schema: Mapping[str, Any], name: str) -> str:
        properties = schema.get("properties")
        if not isinstance(properties, Mapping) or not properties:
            return f"dict[str, {self.annotation(schema.get('additionalProperties'), name)}]"
        parts = re.split(r"[^A-Za-z0-9]+", name)
        class_name = self._allocator.allocate(
            "".join(part[:1].upper() + part[1:] for part in parts)
        )
        self.class_names.append(class_name)
        required = schema.get("required") if isinstance(schema.get("required"), list) else []
        fields = {
            key: self._field(value, f"{name}_{key}", key in (required or ()))
            for key, value in properties.items()
        }
        self.definitions.append(_class_definition(class_name, fields))
        return class_name

    def _field(self, schema: object, name: str, required: bool) -> str:
        annotation = self.annotation(schema, name)
        return annotation if required else f"NotRequired[{annotation}]"


def _class_definition(class_name: str, fields: Mapping[str, str]) -> str:
    if all(map(_is_field_name, fields)):
        lines = [f"    {key}: {annotation}" for key, annotation in fields.items()]
        return "\n".join([f"class {class_name}(TypedDict):", *lines])
    members = ", ".join(f"{key!r}: {annotation}" for key, annotation in fields.items())
    return f"{class_name} = TypedDict({class_name!r}, {{{members}}})"


def _is_field_name(name: str) -> bool:
    """Return whether a class can have a field of this name; one with "__" would be mangled."""
    return name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("__")


def _literal(values: list[Any]) -> str:
    """Return the annotation of one of several values; Literal takes no float and no object."""
    if all(value is None or isinstance(value, str | int) for value in values) and values:
        return f"Literal[{', '.join(map(repr, values))}]"
    return _ANY


def optional(annotation: str) -> str:
    """Return the annotation of a value that may be None."""
    is_optional = annotation in ("None", _ANY) or annotation.endswith(" | None")
    return annotation if is_optional else f"{annotation} | None"


def _union(annotations: list[str]) -> str:
    unique = list(dict.fromkeys(annotations))
    return _ANY if _ANY in unique else " | ".join(unique)
