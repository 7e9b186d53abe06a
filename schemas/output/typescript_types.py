"""TypeScript types of values that a JSON Schema describes, as text. Pure.

What the schema does not say is `unknown`.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

_SCALARS: Final = {
    "string": "string", "integer": "number", "number": "number", "boolean": "boolean",
    "null": "null",
}  # fmt: skip
_UNKNOWN: Final = "unknown"
_IDENTIFIER: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")


def typescript_type(schema: object) -> str:
    """Return the type of a value."""
    if not isinstance(schema, Mapping):
        return _UNKNOWN
    if "const" in schema:
        return _literals([schema["const"]])
    if isinstance(schema.get("enum"), list):
        return _literals(schema["enum"])
    for keyword in ("anyOf", "oneOf"):
        parts = schema.get(keyword)
        if isinstance(parts, list) and parts:
            return _union([typescript_type(part) for part in parts])
    types = schema.get("type")
    if isinstance(types, list) and types:
        return _union([typescript_type({**schema, "type": each}) for each in types])
    if types == "array":
        return f"Array<{typescript_type(schema.get('items'))}>"
    if types == "object":
        return _object(schema)
    return _SCALARS.get(str(types), _UNKNOWN)


def property_name(name: str) -> str:
    """Return a name as it stands in an object type; one that is no identifier is quoted."""
    return name if _IDENTIFIER.fullmatch(name) else json.dumps(name)


def _object(schema: Mapping[str, Any]) -> str:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        return f"Record<string, {typescript_type(schema.get('additionalProperties'))}>"
    required = schema.get("required")
    names = required if isinstance(required, list) else []
    members = [
        f"{property_name(name)}{'' if name in names else '?'}: {typescript_type(value)}"
        for name, value in properties.items()
    ]
    return f"{{ {'; '.join(members)} }}"


def _literals(values: list[Any]) -> str:
    if any(isinstance(value, list | dict) for value in values) or not values:
        return _UNKNOWN
    return _union([json.dumps(value) for value in values])


def _union(types: list[str]) -> str:
    unique = list(dict.fromkeys(types))
    return _UNKNOWN if _UNKNOWN in unique else " | ".join(unique)
