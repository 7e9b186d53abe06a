"""What a client accepts, by the grammar of RFC 9110."""

import pytest

from gateway.request.negotiation import accepts, matches_etag


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("GZip", True),
        ("br, gzip", True),
        ("br;q=1.0, gzip;q=0.2", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("gzip; q=0.001", True),
        ("gzip ; Q=0 , br", False),
        ("gzip;level=1;q=0", False),
        ("x-gzip", False),
        ("gzip-x", False),
        ("*", False),
        ("gzip;q=0, gzip", True),
    ],
)
def test_weights(header: str, expected: bool) -> None:
    assert accepts(header, "gzip") is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('"abc"', True),
        ('W/"abc"', True),
        ('"x", "abc"', True),
        ('"x" , W/"abc"', True),
        ("*", True),
        ("", False),
        ("abc", False),
        ('"abcd"', False),
        ('w/"abc"', False),
    ],
)
def test_etags(header: str, expected: bool) -> None:
    assert matches_etag(header, '"abc"') is expected
