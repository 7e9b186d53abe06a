"""Times as people write and read them on a command line. Pure."""

import argparse
import re

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str) -> float:
    """Return the seconds of a text such as 90d, 12h, 30m or 10s. Raises ArgumentTypeError."""
    match = re.fullmatch(r"([1-9]\d{0,5})([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90d, 12h, 30m or 10s")
    return int(match[1]) * _SECONDS[match[2]]


def format_age(seconds: float) -> str:
    """Return a time in one unit, to two digits or more: 400ms, 59s, 90m, 56h."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 120:
        return f"{seconds:.0f}s"
    if seconds < 7200:
        return f"{seconds / 60:.0f}m"
    return f"{seconds / 3600:.0f}h"
