"""When events are asked for: by the Accept header, or by `header.stream`."""

import pytest

from gateway.request.event_stream import accepts_event_stream, pop_stream_flag
from schemas.model import document
from schemas.model.service import DataType
from schemas.sources import declare
from schemas.sources.declare import Declaration, PayloadStream


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (b"text/event-stream", True),
        (b"application/json, Text/Event-Stream;q=0.9", True),
        (b"application/json", False),
        (b"*/*", False),
        (None, False),
    ],
)
def test_the_accept_header(accept: bytes | None, expected: bool) -> None:
    assert accepts_event_stream({b"accept": accept} if accept is not None else {}) is expected


@pytest.mark.parametrize("flag", [1, "true", None, [True]])
def test_non_boolean_stream_flag_is_ignored(flag: object) -> None:
    service = document.service_from_document(
        declare.declaration_to_document(
            Declaration("s", inputs=(PayloadStream("t", DataType.TEXT),))
        )
    )
    envelope = {"header": {"stream": flag}}
    assert not pop_stream_flag(envelope, service)
    assert envelope == {"header": {"stream": flag}}


def test_stream_flag_declared_in_the_schema_is_kept() -> None:
    schema_document = declare.declaration_to_document(
        Declaration("s", inputs=(PayloadStream("t", DataType.TEXT),))
    )
    envelope = {"header": {"stream": True, "status": 3}}
    assert pop_stream_flag(envelope, document.service_from_document(schema_document))
    assert envelope == {"header": {"status": 3}}, "no schema knows it"
    schema_document["schemainput"]["properties"]["header"]["properties"]["stream"] = {
        "type": "boolean"
    }
    envelope = {"header": {"stream": True, "status": 3}}
    assert not pop_stream_flag(envelope, document.service_from_document(schema_document))
    assert envelope == {"header": {"stream": True, "status": 3}}
