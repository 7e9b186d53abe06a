"""The transforms that a schema applies to an object: the effect of each kind, and the casts. Pure.

Transforms of one object are applied in the order of the kinds in `TRANSFORM_ORDER`.
"""

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from schemas.model.text import as_text

_JsonObject = dict[str, Any]
_InPlaceTransform = Callable[[_JsonObject], None]

# The original changes an object in this order. The first two kinds see its members as they were
# sent, the others after the members' own transforms.
TRANSFORM_ORDER = ("set", "delete", "default", "const", "rename", "cast")
EARLY_KINDS = ("set", "delete")
_NUMBER_PATTERN = re.compile(r"-?[0-9]+((?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)")
_MAX_NUMBER_LENGTH = 100
_MAX_TEXT_LENGTH = 1024 * 1024
_BOOLEAN_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class CastError(Exception):
    """A value that a transform cannot convert or copy; `str()` gives the rule that it breaks."""


class Transform:
    """One transform of an object.

    `kind` is an item of `TRANSFORM_ORDER` and `member` the member that changes. The meaning of
    `value` depends on the kind: the new value, the new name, the name of a cast, or a reference
    `${path}` to a value. `apply_in_place(obj)` changes an object and raises CastError if it cannot
    convert the value. The constructor raises KeyError for an unknown kind or cast.
    """

    __slots__ = ("apply_in_place", "kind", "member", "value")

    def __init__(self, kind: str, member: str, value: Any = None) -> None:
        self.kind = kind
        self.member = member
        self.value = value
        self.apply_in_place = _FACTORIES[kind](member, value)


def _copy_literal(value: Any) -> Any:
    """Return a value of the schema that the request may own: a container is copied."""
    return deepcopy(value) if isinstance(value, dict | list) else value


def _make_default(member: str, default: Any) -> _InPlaceTransform:
    def apply(obj: _JsonObject) -> None:
        if member not in obj:
            obj[member] = _copy_literal(default)

    return apply


def _make_const(member: str, const: Any) -> _InPlaceTransform:
    def apply(obj: _JsonObject) -> None:
        obj[member] = _copy_literal(const)

    return apply


def _make_rename(member: str, new_name: str) -> _InPlaceTransform:
    """Rename a member. If `new_name` exists, its value stays and the renamed value is dropped."""

    def apply(obj: _JsonObject) -> None:
        if member in obj:
            value = obj.pop(member)
            obj.setdefault(new_name, value)

    return apply


def _make_cast(member: str, type_name: str) -> _InPlaceTransform:
    """Convert a member to another type; null stays null."""
    cast = CASTS[type_name]

    def apply(obj: _JsonObject) -> None:
        value = obj.get(member)
        if value is not None:
            obj[member] = cast(value)

    return apply


def _make_set(member: str, value: Any) -> _InPlaceTransform:
    """Set a member by its dotted path; a value on the way that is no object becomes one."""
    *parent_names, leaf_name = member.removeprefix("$.").split(".")

    def apply(obj: _JsonObject) -> None:
        target = obj
        for name in parent_names:
            child = target.get(name)
            if not isinstance(child, dict):
                child = target[name] = {}
            target = child
        target[leaf_name] = _resolve_reference(obj, value)

    return apply


def _resolve_reference(root: _JsonObject, value: Any) -> Any:
    """Return the value that `${a.b}` refers to in `root`, null if it is absent.

    Any other `value` is returned itself, copied if it is a container. Raises CastError if the
    reference names an object or an array.
    """
    if not (isinstance(value, str) and value.startswith("${") and value.endswith("}")):
        return _copy_literal(value)
    referenced_value: Any = root
    for name in value[2:-1].removeprefix("$.").split("."):
        referenced_value = (
            referenced_value.get(name) if isinstance(referenced_value, dict) else None
        )
    if isinstance(
        referenced_value, dict | list
    ):  # an alias would let a later transform of one member change the other
        raise CastError(f"cannot be set to {value}: that is no text, number, true or false")
    return referenced_value


def _make_delete(member: str, _: Any) -> _InPlaceTransform:
    def apply(obj: _JsonObject) -> None:
        obj.pop(member, None)

    return apply


def _cast_to_number(value: Any) -> float:
    if isinstance(value, int | float):
        return int(value) if isinstance(value, int) or value.is_integer() else value
    match = (
        _NUMBER_PATTERN.fullmatch(value)
        if isinstance(value, str) and len(value) <= _MAX_NUMBER_LENGTH
        else None
    )
    if match is None:
        raise CastError("must be a number, or a text that is one")
    if not match[1]:
        return int(value)
    number = float(value)
    if not abs(number) < float("inf"):
        raise CastError("must be a number, or a text that is one")
    return int(number) if number.is_integer() else number


def _cast_to_integer(value: Any) -> int:
    message = "must be a whole number, or a text that is one"
    try:
        number = _cast_to_number(value)
    except CastError:
        raise CastError(message) from None
    if number != int(number):
        raise CastError(message)
    return int(number)


def _cast_to_string(value: Any) -> str:
    text = as_text(value)
    if isinstance(value, dict | list) and len(text) > _MAX_TEXT_LENGTH:
        raise CastError("is too long as a text")
    return text


def _cast_to_boolean(value: Any) -> bool:
    boolean = (
        _BOOLEAN_WORDS.get(as_text(value).lower()) if isinstance(value, str | int | bool) else None
    )
    if boolean is None:
        raise CastError("must be true or false, or a text that says so")
    return boolean


CASTS: dict[str, Callable[[Any], Any]] = {
    "string": _cast_to_string,
    "number": _cast_to_number,
    "integer": _cast_to_integer,
    "bool": _cast_to_boolean,
    "boolean": _cast_to_boolean,
    "lower": lambda value: as_text(value).lower(),
    "upper": lambda value: as_text(value).upper(),
}

_FACTORIES: dict[str, Callable[[str, Any], _InPlaceTransform]] = {
    "default": _make_default,
    "const": _make_const,
    "rename": _make_rename,
    "cast": _make_cast,
    "set": _make_set,
    "delete": _make_delete,
}
