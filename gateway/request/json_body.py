"""Parsing of request bodies: bytes to a JSON object, or an error. Pure: no I/O, no clock.

It rejects what Python's standard library accepts: duplicate keys, NaN and Infinity, numbers that
are too large, NUL, encodings other than UTF-8 (docs/architecture.md). An upper bound of the number
of values is checked before parsing, to bound its cost.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from typing import Any, Final

import jiter

from schemas.model.errors import BAD_REQUEST, AseError

judge: Callable[[dict[str, Any], bytes, int], int] | None
try:
    from gateway.request.json_native import judge
except ImportError:  # not compiled
    judge = None

_FAULTLESS: Final = 2  # the verdict of `judge` on a body that needs no further check
_MAX_FINDS: Final = 256
_MAX_INTEGER: Final = 10**100
_TOO_MANY_DIGITS: Final = "request body: a number has more than 100 digits"
# Integers beyond 64 bits are slow to process, and no request needs many of them.
_INT64_LIMIT: Final = 2**63
_MAX_LONG_INTEGERS: Final = 1000
_TOO_MANY_LONG_INTEGERS: Final = "request body: more than 1000 integers beyond 64 bits"
# An unclosed string matches to the end of the body, so any body is scanned in linear time.
_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)


# A member name: text between two quotes before a colon. Only for bodies without escaped quotes.
_NAMES: Final = re.compile(rb'"([^"]*+)"[ \t\r\n]*+:')
_SLICE_BYTES: Final = 1 << 17
_MIN_NAME_BYTES: Final = 4  # of a name of one character: its quotes and a colon too


def parse(body: bytes, max_depth: int, max_nodes: int, max_names: int) -> dict[str, Any]:
    """Parse a body that is one JSON object in UTF-8.

    Raises AseError 10163 if it is anything else, is nested deeper than `max_depth` levels, or has
    more than `max_nodes` values or more than `max_names` different member names. The message never
    contains a value of the body; the message for the log does not contain a key either.
    """
    _check_name_count(body, max_names)
    check_node_count(body, max_nodes)
    value = _parse_judged(body, max_depth)
    return _parse_checked(body, max_depth) if value is None else value


def _parse_judged(body: bytes, max_depth: int) -> dict[str, Any] | None:
    """Return the object of a body; None if it may have a name twice, or too many levels.

    To look for duplicate keys costs the parser as much as to parse. Here they are noticed by the
    number of strings. Raises AseError 10163.
    """
    if judge is None:
        return None
    try:
        value = jiter.from_json(body, allow_inf_nan=False, cache_mode="keys")
    except ValueError as error:
        raise _syntax_error(error) from None
    if type(value) is not dict:
        return None
    members: dict[str, Any] = value
    verdict = judge(members, body, max_depth)
    if verdict == 0:
        return None
    if verdict != _FAULTLESS:
        _check_values(members, max_depth, _may_hold_nul(body))
    return members


def _parse_checked(body: bytes, max_depth: int) -> dict[str, Any]:
    """Return the object of a body. Raises AseError 10163 if it breaks a rule."""
    try:
        value = jiter.from_json(
            body, allow_inf_nan=False, catch_duplicate_keys=True, cache_mode="keys"
        )
    except ValueError as error:
        raise _syntax_error(error) from None
    if type(value) is not dict:
        raise AseError(BAD_REQUEST, "request body must be a json object")
    _check_values(value, max_depth, _may_hold_nul(body))
    return value


def _syntax_error(error: ValueError) -> AseError:
    """Return the error of a body that the parser refuses."""
    prefix, message = "request body must be json: ", _truncate_message(str(error))
    return AseError(BAD_REQUEST, prefix + message, prefix + _without_key(message))


def _may_hold_nul(body: bytes) -> bool:
    """Return whether a string may hold NUL. A raw NUL is not JSON, so it must be escaped."""
    escape = body.find(b"\\")
    return escape >= 0 and body.find(b"\\u0000", escape) >= 0


def parse_value(text: bytes, max_depth: int, max_nodes: int, max_names: int) -> Any:
    """Parse a text that is one JSON value in UTF-8, with the rules of `parse`."""
    members = parse(b'{"value":%b}' % text, max_depth, max_nodes, max_names)
    if len(members) != 1:
        raise AseError(BAD_REQUEST, "request body must be json: it has more than one value")
    return members["value"]


def check_node_count(body: bytes, max_nodes: int) -> None:
    """Raise AseError 10163 if a body has more than `max_nodes` values.

    Counting costs less than parsing: a cheap upper bound is enough for most bodies.
    """
    if (
        len(body) > max_nodes
        and _max_possible_nodes(body) > max_nodes
        and _exceeds(body, max_nodes)
    ):
        raise AseError(BAD_REQUEST, f"request body: more than {max_nodes} values")


def check_total_nodes(texts: Sequence[bytes], max_nodes: int) -> None:
    """Raise AseError 10163 if several texts of JSON together have more than `max_nodes` values."""
    if sum(map(_max_possible_nodes, texts)) > max_nodes and (
        sum(map(_count_nodes, texts)) > max_nodes
    ):
        raise AseError(BAD_REQUEST, f"request body: more than {max_nodes} values")


def _check_name_count(body: bytes, max_names: int) -> None:
    """Raise AseError 10163 if a body has more than `max_names` different member names.

    A new name costs a hundred times as much to parse as a number, a repeated one little. A body
    with few colons, in names or elsewhere, needs no further check.
    """
    if len(body) <= max_names * _MIN_NAME_BYTES or not _has_more_colons(body, max_names):
        return
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    names: set[bytes] = set()
    for start in range(0, len(body), _SLICE_BYTES):
        names.update(_NAMES.findall(body[start : start + _SLICE_BYTES]))
        if len(names) > max_names:
            raise AseError(BAD_REQUEST, f"request body: more than {max_names} member names")


def _has_more_colons(body: bytes, max_colons: int) -> bool:
    few_colons = _find_occurrences(body, b":")
    if few_colons is not None:
        return few_colons > max_colons
    colons = 0
    for start in range(0, len(body), _SLICE_BYTES):
        colons += body.count(b":", start, start + _SLICE_BYTES)
        if colons > max_colons:
            return True
    return False


def text_traits(body: bytes) -> tuple[bool, bool]:
    """Return whether all strings of a body are ASCII, and whether one may contain a line break.

    JSON escapes line breaks, and may escape other characters.
    """
    escape = body.find(b"\\")  # compiled, `in` takes twice as long: it raises and catches an error
    if escape < 0:
        return body.isascii(), False
    is_ascii = body.isascii() and body.find(b"\\u", escape) < 0
    return is_ascii, body.find(b"\\n", escape) >= 0 or body.find(b"\\r", escape) >= 0


def _max_possible_nodes(body: bytes) -> int:
    """Return an upper bound of the number of values in a body."""
    return 1 + _count_char(body, b",") + _count_char(body, b"[") + _count_char(body, b"{")


def _count_char(body: bytes, char: bytes) -> int:
    """Return the number of occurrences of a character.

    A few occurrences in a large body are counted ten times as fast by `find` as by `count`.
    """
    occurrences = _find_occurrences(body, char)
    return body.count(char) if occurrences is None else occurrences


def _find_occurrences(body: bytes, char: bytes) -> int | None:
    """Return the number of occurrences of a character, None if it is more than 255."""
    position = 0
    for occurrences in range(_MAX_FINDS):
        position = body.find(char, position) + 1
        if not position:
            return occurrences
    return None


def _exceeds(body: bytes, max_nodes: int) -> bool:
    """Return whether a body has more than `max_nodes` values, not counting text inside strings."""
    quotes = body.count(b'"') - body.count(b'\\"')
    # A member has at most two strings, a string two quotes. More quotes need no further check.
    return quotes > 4 * max_nodes or _count_nodes(body) > max_nodes


def _count_nodes(body: bytes) -> int:
    """Return the number of values in a body, at least; text inside strings does not count."""
    without_strings = _STRINGS.sub(b"0", body)
    return sum(map(without_strings.count, (b",", b"[", b"{"))) + 1


def _check_values(value: dict[str, Any], max_depth: int, may_hold_nul: bool, /) -> None:
    """Reject values that parse but are not accepted, level by level of nesting.

    These are NUL in strings, numbers out of range, too many integers beyond 64 bits, and more than
    `max_depth` levels. `may_hold_nul`: some string may contain NUL. Raises AseError 10163.
    """
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
    """Return `long_integers` plus one, for an integer beyond 64 bits. Raises AseError 10163."""
    if not -_MAX_INTEGER < number < _MAX_INTEGER:
        raise AseError(BAD_REQUEST, _TOO_MANY_DIGITS)
    if long_integers >= _MAX_LONG_INTEGERS:
        raise AseError(BAD_REQUEST, _TOO_MANY_LONG_INTEGERS)
    return long_integers + 1


def _without_key(message: str) -> str:
    """Return the parser's message without the duplicate key that it may quote: the key is data."""
    if not message.startswith("Detected duplicate key"):
        return message
    return "duplicate key" + "".join(message.rpartition(" at line ")[1:])


def _truncate_message(message: str) -> str:
    """Return the parser's message; one of more than 160 characters is shortened in the middle."""
    return message if len(message) <= 160 else message[:100] + " ... " + message[-40:]
