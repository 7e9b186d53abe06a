"""The bytes of a request body become a JSON value, or an error that says where. Pure.

What the standard library lets pass is refused here: duplicate keys, NaN and Infinity, numbers too
large, NUL, other encodings than UTF-8 (reference "reliability" 4.3). The cost of a body is bounded
before it is parsed, by a count that cannot be too low.
"""

import re
from collections.abc import Iterable
from math import isfinite
from typing import Any, Final

import jiter

from schemas.model.errors import BAD_REQUEST, AseError

_MAX_FINDS: Final = 256
_MAX_INTEGER: Final = 10**100
_TOO_MANY_DIGITS: Final = "request body: a number has more than 100 digits"
# Integers beyond a machine's word are slow wherever they come: none has a use for many.
_INT64_LIMIT: Final = 2**63
_MAX_LONG_INTEGERS: Final = 1000
_TOO_MANY_LONG_INTEGERS: Final = "request body: more than 1000 integers beyond 64 bits"
# An unclosed string runs to the end: each byte is looked at once, whatever the body.
_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)


def parse(body: bytes, max_depth: int, max_nodes: int) -> dict[str, Any]:
    """Return the JSON object of a body.

    Raises AseError (10163) for what is not one JSON object in UTF-8, or is deeper than `max_depth`
    levels or has more than `max_nodes` values. The message never holds a value of the body.
    """
    check_node_count(body, max_nodes)
    try:
        value = jiter.from_json(
            body, allow_inf_nan=False, catch_duplicate_keys=True, cache_mode="keys"
        )
    except ValueError as error:
        prefix, message = "request body must be json: ", _truncate_message(str(error))
        raise AseError(BAD_REQUEST, prefix + message, prefix + _without_key(message)) from None
    if type(value) is not dict:
        raise AseError(BAD_REQUEST, "request body must be a json object")
    # A raw NUL is no JSON; an escaped one is looked for only where it can be.
    escape = body.find(b"\\")
    _check_values(value, max_depth, escape >= 0 and body.find(b"\\u0000", escape) >= 0)
    return value


def check_node_count(body: bytes, max_nodes: int) -> None:
    """Raise AseError (10163) when a body has more than so many values; parsing it costs more."""
    if (
        len(body) > max_nodes
        and _max_possible_nodes(body) > max_nodes
        and _exceeds(body, max_nodes)
    ):
        raise AseError(BAD_REQUEST, f"request body: more than {max_nodes} values")


def is_ascii(body: bytes) -> bool:
    """Return whether no text in a body can have a character beyond ASCII, escaped or not."""
    return body.isascii() and b"\\u" not in body


def _max_possible_nodes(body: bytes) -> int:
    """Return a number that the count of values in the text does not exceed."""
    return 1 + _count_char(body, b",") + _count_char(body, b"[") + _count_char(body, b"{")


def _count_char(body: bytes, char: bytes) -> int:
    """Return how often a character is there; few in a large body are found ten times as fast."""
    position = 0
    for occurrences in range(_MAX_FINDS):
        position = body.find(char, position) + 1
        if not position:
            return occurrences
    return body.count(char)


def _exceeds(body: bytes, max_nodes: int) -> bool:
    """Return whether there are more values than that, what stands inside strings not counted."""
    quotes = body.count(b'"') - body.count(b'\\"')
    # A member has two strings at most, a string two quotes; beyond that they need no looking at.
    if quotes > 4 * max_nodes:
        return True
    without_strings = _STRINGS.sub(b"0", body)
    return (
        1 + without_strings.count(b",") + without_strings.count(b"[") + without_strings.count(b"{")
        > max_nodes
    )


def _check_values(value: dict[str, Any], max_depth: int, may_hold_nul: bool, /) -> None:
    """Refuse what parses but must not pass, level by level; `texts`: some string may hold NUL."""
    level: list[Any] = [value]
    long_integers = 0
    for _ in range(max_depth):
        next_level: list[Any] = []
        for container in level:
            members: Iterable[Any] = container
            if type(container) is dict:
                members = [*container, *container.values()] if may_hold_nul else container.values()
            for member in members:
                kind = type(member)
                if kind is str:
                    if may_hold_nul and "\0" in member:
                        raise AseError(BAD_REQUEST, "request body: NUL in a string")
                elif kind is dict or kind is list:
                    next_level.append(member)
                elif kind is int:
                    if not -_INT64_LIMIT < member < _INT64_LIMIT:
                        long_integers = _count_long_integer(member, long_integers)
                elif kind is float and not isfinite(member):
                    raise AseError(BAD_REQUEST, "request body: a number is out of range")
        if not next_level:
            return
        level = next_level
    raise AseError(BAD_REQUEST, "request body: nested too deep")


def _count_long_integer(number: int, long_integers: int) -> int:
    """Count an integer beyond a machine's word."""
    if not -_MAX_INTEGER < number < _MAX_INTEGER:
        raise AseError(BAD_REQUEST, _TOO_MANY_DIGITS)
    if long_integers >= _MAX_LONG_INTEGERS:
        raise AseError(BAD_REQUEST, _TOO_MANY_LONG_INTEGERS)
    return long_integers + 1


def _without_key(message: str) -> str:
    """Return the parser's message without the key it may quote, which is the caller's own."""
    if not message.startswith("Detected duplicate key"):
        return message
    return "duplicate key" + "".join(message.rpartition(" at line ")[1:])


def _truncate_message(message: str) -> str:
    """Return the parser's message without a key it may quote at length."""
    return message if len(message) <= 160 else message[:100] + " ... " + message[-40:]
