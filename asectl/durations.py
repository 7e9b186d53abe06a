"""Times as people write them on a command line. Pure."""

import argparse
import re

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str) -> float:
    """Return the seconds of a text such as 90d, 12h, 30m or 10s. Raises ArgumentTypeError."""
    match = re.fullmatch(r"([1-9]\d{0,5})([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90d, 12h, 30m or 10s")
    return int(match[1]) * _SECONDS[match[2]]
