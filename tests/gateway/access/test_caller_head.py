"""What a request says of its caller."""

import pytest

from gateway.access.caller_head import CallerHead, decode_header
from gateway.access.peer import Peer


def test_target_has_the_query_as_sent() -> None:
    assert CallerHead("GET", "/a%2Fb", "", {}, Peer("")).target == "/a%2Fb"
    assert CallerHead("GET", "/a", "b=%20", {}, Peer("")).target == "/a?b=%20"


def test_headers_are_found_by_lower_case_name() -> None:
    head = CallerHead("GET", "/", "", {b"host": b"h\xe9"}, Peer(""))
    assert (head.header("host"), head.header("date")) == ("hé", "")


@pytest.mark.parametrize(
    ("value", "text"), [("é语".encode(), "é语"), (b"\xe9", "é"), ("é".encode(), "é"), (b"", "")]
)
def test_names_are_utf_8_or_else_latin_1(value: bytes, text: str) -> None:
    """The bytes of a name have one reading: nobody else can take it."""
    assert decode_header(value) == text
