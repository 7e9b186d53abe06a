"""The bytes of a request body become a JSON value, or an error that says where. Pure.

What the standard library lets pass is refused here: duplicate keys, NaN and Infinity, numbers too
large, NUL, other encodings than UTF-8 (reference "reliability" 4.3). The cost of a body is bounded
before it is parsed, by a count that cannot be too low.
"""

import math
import re
from typing import Any

import jiter

from schemas.errors import BAD_REQUEST, AseError

_MAX_DIGITS = 10**100
# An unclosed string runs to the end: each byte is looked at once, whatever the body.
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)


def parse(body: bytes, *, max_depth: int, max_nodes: int) -> dict[str, Any]:
    """Return the JSON object of a body.

    Raises AseError (10163) for what is not one JSON object in UTF-8, or is deeper than `max_depth`
    levels or has more than `max_nodes` values. The message never holds a value of the body.
    """
    if _nodes(body) > max_nodes and _exceeds(body, max_nodes):
        raise AseError(BAD_REQUEST, f"request body: more than {max_nodes} values")
    try:
        value = jiter.from_json(
            body, allow_inf_nan=False, catch_duplicate_keys=True, cache_mode="keys"
        )
    except ValueError as error:
        raise AseError(BAD_REQUEST, f"request body must be json: {_safe(str(error))}") from None
    if not isinstance(value, dict):
        raise AseError(BAD_REQUEST, "request body must be a json object")
    _screen(value, max_depth)
    return value


def _nodes(body: bytes) -> int:
    """Return a number that the count of values in the text does not exceed."""
    return 1 + body.count(b",") + body.count(b"[") + body.count(b"{")


def _exceeds(body: bytes, max_nodes: int) -> bool:
    """Return whether there are more values than that, what stands inside strings not counted."""
    quotes = body.count(b'"') - body.count(b'\\"')
    # A member has two strings at most, a string two quotes; beyond that they need no looking at.
    return quotes > 4 * max_nodes or _nodes(_STRINGS.sub(b"0", body)) > max_nodes


def _screen(value: Any, levels: int) -> None:
    """Refuse what parses but must not pass."""
    match value:
        case str():
            if "\0" in value:
                raise AseError(BAD_REQUEST, "request body: NUL in a string")
        case dict():
            _descend(levels)
            for key, member in value.items():
                _screen(key, 0)
                _screen(member, levels - 1)
        case list():
            _descend(levels)
            for member in value:
                _screen(member, levels - 1)
        case float():
            if not math.isfinite(value):
                raise AseError(BAD_REQUEST, "request body: a number is out of range")
        case int():
            if not -_MAX_DIGITS < value < _MAX_DIGITS:
                raise AseError(BAD_REQUEST, "request body: a number has more than 100 digits")


def _descend(levels: int) -> None:
    if levels <= 0:
        raise AseError(BAD_REQUEST, "request body: nested too deep")


def _safe(message: str) -> str:
    """Return the parser's message without a key it may quote at length."""
    return message if len(message) <= 160 else message[:100] + " ... " + message[-40:]
