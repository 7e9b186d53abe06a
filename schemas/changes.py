"""The changes that a schema makes to an object: what each kind does, and the casts. Pure."""

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from schemas.text import as_text

_Object = dict[str, Any]
_Do = Callable[[_Object], None]

ORDER = ("default", "const", "rename", "cast", "set", "delete")
_NUMBER = re.compile(r"-?[0-9]+((?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)")
_MOST_DIGITS = 100
_MOST_TEXT = 1024 * 1024
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class CastError(Exception):
    """A value that cannot be made another type; `str()` says what it must be."""


class Effect:
    """One change of an object: `kind` is a word of `ORDER`, `member` what is changed.

    `value` is what it is changed to or by: a value, another name, a type, the path of a value. `do`
    changes an object in place. Raises KeyError for an unknown kind or type.
    """

    __slots__ = ("do", "kind", "member", "value")

    def __init__(self, kind: str, member: str, value: Any = None) -> None:
        self.kind = kind
        self.member = member
        self.value = value
        self.do = _DO[kind](member, value)


def _fresh(value: Any) -> Any:
    """Return a value of the schema's that no other request has."""
    return deepcopy(value) if isinstance(value, dict | list) else value


def _default(member: str, default: Any) -> _Do:
    def do(value: _Object) -> None:
        if member not in value:
            value[member] = _fresh(default)

    return do


def _const(member: str, const: Any) -> _Do:
    def do(value: _Object) -> None:
        value[member] = _fresh(const)

    return do


def _rename(member: str, name: str) -> _Do:
    """Give a member its other name; one that is there already stays."""

    def do(value: _Object) -> None:
        if member in value:
            told = value.pop(member)
            value.setdefault(name, told)

    return do


def _cast(member: str, kind: str) -> _Do:
    """Make a member another type; null stays null."""
    cast = CASTS[kind]

    def do(value: _Object) -> None:
        told = value.get(member)
        if told is not None:
            value[member] = cast(told)

    return do


def _set(member: str, told: Any) -> _Do:
    """Set a member, by its path; on the way there, what is no object becomes one."""
    *way, last = member.removeprefix("$.").split(".")

    def do(value: _Object) -> None:
        at = value
        for name in way:
            below = at.get(name)
            if not isinstance(below, dict):
                below = at[name] = {}
            at = below
        at[last] = _referred(value, told)

    return do


def _referred(value: _Object, told: Any) -> Any:
    """Return the value that `${a.b}` names, null for none; any other stands for itself."""
    if not (isinstance(told, str) and told.startswith("${") and told.endswith("}")):
        return _fresh(told)
    found: Any = value
    for name in told[2:-1].removeprefix("$.").split("."):
        found = found.get(name) if isinstance(found, dict) else None
    if isinstance(found, dict | list):  # two names for one thing would be changed by each other
        raise CastError(f"cannot be set to {told}: that is no text, number, true or false")
    return found


def _delete(member: str, _: Any) -> _Do:
    def do(value: _Object) -> None:
        value.pop(member, None)

    return do


def _number(told: Any) -> float:
    if isinstance(told, int | float):
        return int(told) if isinstance(told, int) or told.is_integer() else told
    match = _NUMBER.fullmatch(told) if isinstance(told, str) and len(told) <= _MOST_DIGITS else None
    if match is None:
        raise CastError("must be a number, or a text that is one")
    if not match[1]:
        return int(told)
    number = float(told)
    if not abs(number) < float("inf"):
        raise CastError("must be a number, or a text that is one")
    return int(number) if number.is_integer() else number


def _integer(told: Any) -> int:
    words = "must be a whole number, or a text that is one"
    try:
        number = _number(told)
    except CastError:
        raise CastError(words) from None
    if number != int(number):
        raise CastError(words)
    return int(number)


def _text(told: Any) -> str:
    text = as_text(told)
    if isinstance(told, dict | list) and len(text) > _MOST_TEXT:
        raise CastError("is too long as a text")
    return text


def _truth(told: Any) -> bool:
    word = _WORDS.get(as_text(told).lower()) if isinstance(told, str | int | bool) else None
    if word is None:
        raise CastError("must be true or false, or a text that says so")
    return word


CASTS: dict[str, Callable[[Any], Any]] = {
    "string": _text,
    "number": _number,
    "integer": _integer,
    "bool": _truth,
    "boolean": _truth,
    "lower": lambda told: as_text(told).lower(),
    "upper": lambda told: as_text(told).upper(),
}

_DO: dict[str, Callable[[str, Any], _Do]] = {
    "default": _default,
    "const": _const,
    "rename": _rename,
    "cast": _cast,
    "set": _set,
    "delete": _delete,
}
