"""Forms of requests by their headers; the errors are in test_exchange, through a socket."""

import pytest

from aseloader import declare
from gateway.plain.heads import PlainHeads
from gateway.request.response import HttpError
from schemas.model import document
from schemas.model.plain import PlainApi
from tests.wrappers.forms import Forms


def heads() -> PlainHeads:
    service = document.service_from_document(document.parse(declare.schema(Forms)))
    return PlainHeads(PlainApi(service))


@pytest.mark.parametrize(
    ("content_type", "accept", "raw_input", "answer_type", "is_named"),
    [
        (b"application/json", b"", "", "application/json", False),
        (b"application/json; charset=utf-8", b"*/*", "", "application/json", False),
        (b"image/png", b"", "picture", "image/png", False),
        (b"text/plain", b"image/*", "text", "image/png", False),
        (b"multipart/form-data; boundary=a", b"IMAGE/JPEG", "", "image/jpeg", True),
        (b"", b"text/event-stream", "", "text/event-stream", True),
    ],
)
def test_head(
    content_type: bytes, accept: bytes, raw_input: str, answer_type: str, is_named: bool
) -> None:
    head = heads().find(content_type, accept)
    assert (head.raw_input.name if head.raw_input else "") == raw_input
    assert (head.answer_type, head.file_name) == (answer_type, "thumbnail")
    assert head.is_type_named is is_named or answer_type in accept.decode().lower()


def test_repeated_heads_are_decided_once_and_long_ones_not_kept() -> None:
    found = heads()
    assert found.find(b"image/png", b"*/*") is found.find(b"image/png", b"*/*")
    long_accept = b"*/*, " * 60
    assert found.find(b"image/png", long_accept) is not found.find(b"image/png", long_accept)
    with pytest.raises(HttpError):
        found.find(b"image/png", b"text/html")
