"""Times on a command line."""

import argparse

import pytest

from asectl.durations import format_age, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("30m", 1800), ("12h", 43200), ("90d", 7776000)]
)
def test_time_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "0s", "-1s", "1.5h", "1w", "1234567s", "s"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no time such as 90d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "400ms"), (59, "59s"), (3600, "60m"), (200000, "56h")]
)
def test_age_is_short(seconds: float, text: str) -> None:
    assert format_age(seconds) == text
