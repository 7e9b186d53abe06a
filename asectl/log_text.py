"""Log records as text for people: one line each, the fields behind the message. Pure."""

import json
from collections.abc import Mapping
from typing import Any

_LEVELS = {"debug": "DEBUG", "info": "INFO ", "warning": "WARN ", "error": "ERROR"}
_COLOURS = {"debug": "2", "warning": "33", "error": "31"}  # SGR parameters (ECMA-48)
_PREFIX_FIELDS = ("time", "level", "logger", "message")


def format_fields(fields: Mapping[str, Any], *, colour: bool) -> str:
    """Return a record as `HH:MM:SS.mmm LEVEL logger message key=value ...`, in UTC.

    `fields` are those of a line of JSON: `time`, `level`, `logger`, `message` and others. A value
    with blanks, quotes or control characters is quoted and escaped as in JSON, so that a record is
    one line and no value looks like another field. A traceback follows on indented lines.
    """
    level = str(fields.get("level", "info"))
    time_of_day = str(fields.get("time", ""))[11:23]
    logger = str(fields.get("logger", "")).removeprefix("ase.")
    head = f"{time_of_day} {_LEVELS.get(level, level.upper())} {logger:<8}"
    if colour and level in _COLOURS:
        head = f"\x1b[{_COLOURS[level]}m{head}\x1b[0m"
    pairs = [
        f"{name}={_format_value(value)}"
        for name, value in fields.items()
        if name not in (*_PREFIX_FIELDS, "traceback") and value not in ("", None)
    ]
    message = " ".join([_escape(str(fields.get("message", ""))), *pairs])
    lines = [_escape(line) for line in str(fields.get("traceback", "")).splitlines()]
    return "\n    ".join([f"{head} {message}", *lines])


def _format_value(value: Any) -> str:
    if isinstance(value, str):
        is_plain = value.isprintable() and not set(value) & set(" \"'=")
        return value if is_plain else json.dumps(value)
    return json.dumps(value, default=str)


def _escape(text: str) -> str:
    """Return text with control characters escaped as in JSON."""
    return text if text.isprintable() else json.dumps(text)[1:-1]
