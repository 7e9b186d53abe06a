"""YAML 1.2 scalars (the core schema): `no`, `on`, dates and 12:30 are texts, 010 is ten. Pure.

The parser's own loader reads YAML 1.1, where `enum: [en, no, se]` has a false in it. Source:
YAML 1.2.2, 10.3.2.
"""

import re
from typing import Any, Final

import yaml

_TAG_PREFIX: Final = "tag:yaml.org,2002:"
_INFINITY: Final = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_SCALARS: Final = {
    "null": (re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    "bool": (re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    "int": (re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"), list("-+0123456789")),
    "float": (
        re.compile(
            r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
        ),
        list("-+0123456789."),
    ),
}
# By first character: a plain scalar is of the first type whose pattern matches.
_RESOLVERS: Final = {
    first: [
        (_TAG_PREFIX + name, re.compile(f"(?:{pattern.pattern})\\Z"))
        for name, (pattern, firsts) in _SCALARS.items()
        if first in firsts
    ]
    for first in {first for _, firsts in _SCALARS.values() for first in firsts}
}


class CoreLoader(yaml.SafeLoader):
    """Composes the nodes of a YAML 1.2 text; `scalar_value` constructs the values."""

    yaml_implicit_resolvers = _RESOLVERS


def scalar_type(node: yaml.Node) -> str:
    """Return null, bool, int, float or str; "" for a tag that is none of these."""
    name = node.tag.removeprefix(_TAG_PREFIX)
    return name if name in _SCALARS or name == "str" else ""


def scalar_value(node: yaml.Node) -> Any:
    """Return the value of a scalar of one of these types. Raises ValueError for an invalid text."""
    text: str = node.value
    match scalar_type(node):
        case "null":
            return None
        case "bool" if text.lower() in ("true", "false"):
            return text.lower() == "true"
        case "int":
            return int(text, {"0o": 8, "0x": 16}.get(text[:2].lower(), 10))
        case "float":
            infinity = _INFINITY.fullmatch(text)
            if infinity:
                return float(infinity[1] + "inf")
            return float(text.lower().replace(".nan", "nan"))
        case "str":
            return text
    raise ValueError(f"{text!r} is no value")
