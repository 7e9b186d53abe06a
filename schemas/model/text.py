"""Conversion of JSON values to the strings of a frame: the original's rules, corrected. Pure.

The maps of a frame hold only strings (`docs/wire.md`): booleans as true or false, null as "",
numbers in their shortest form without exponent, arrays joined by ";", objects as compact JSON.
"""

import json
from decimal import Decimal
from typing import Any

_OTHER_CODECS = frozenset({
    "gbk", "gb2312", "gb18030", "big5", "shift-jis", "euc-jp", "euc-kr", "iso-8859-1", "latin-1",
    "windows-1252", "utf-16", "utf-16le", "utf-16be",
})  # fmt: skip


def value_of_text(kind: str, text: str) -> Any:
    """Return the value of a member that is given as text: parsed as JSON, or the text itself.

    `kind` is the member's JSON Schema type; a string is the text itself. Text that is not valid
    JSON is returned unchanged, so that a validation reports it; so are numbers that JSON cannot
    carry, such as NaN and 1e999.
    """
    if kind in ("integer", "number", "boolean", "object", "array"):
        try:
            value = json.loads(text)
            json.dumps(value, allow_nan=False)
        except (ValueError, RecursionError):
            return text
        return value
    return text


def as_text(value: Any) -> str:
    """Return the string form of a JSON value in headers, params and attributes.

    An array or object inside an array becomes compact JSON.
    """
    value_type = type(value)
    if value_type is str or value_type is int:
        return str(value)
    if value_type is bool:
        return "true" if value else "false"
    if value is None:
        return ""
    if value_type is float:
        return _number_text(value)
    if value_type is list:
        return ";".join(_item_text(item) for item in value)
    return _compact_json(value)


def codec_of(encoding: str) -> str:
    """Return the codec of a text with the attribute `encoding`: UTF-8 unless it names another."""
    name = encoding.lower().replace("_", "-")
    return name if name in _OTHER_CODECS else "utf-8"


def _item_text(value: Any) -> str:
    return _compact_json(value) if isinstance(value, list | dict) else as_text(value)


def _compact_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _number_text(value: float) -> str:
    """Return the shortest digits that parse to `value`: "1" for 1.0, "0.0000001" for 1e-7."""
    text = repr(value)
    if "e" in text:
        text = format(Decimal(text), "f")
    return text.removesuffix(".0")
