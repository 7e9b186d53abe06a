"""Results as events and as lines; events with envelopes are in test_sse."""

import json

from gateway.request.record import RequestRecord
from gateway.streaming.framing import EnvelopeEvents, PlainEvents, PlainLines
from schemas.model.errors import LOADER_FULL, AseError

RECORD = RequestRecord("5" * 32, 0.0)
PAYLOAD = b'{"a":\n1}'


def test_plain_events() -> None:
    framing = PlainEvents()
    assert framing.result(RECORD, PAYLOAD, 1, 7) == b'event: result\nid: 7\ndata: {"a": 1}\n\n'
    assert framing.end(RECORD, 2) == b"event: end\ndata: {}\n\n"
    error = framing.error(RECORD, AseError(LOADER_FULL))
    name, _, data = error.partition(b"\ndata: ")
    assert name == b"event: error"
    assert json.loads(data) | {"detail": ""} == {
        "type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": "",
        "code": 10110, "sid": "5" * 32,
    }  # fmt: skip
    assert framing.keep_alive().startswith(b":")


def test_plain_lines() -> None:
    framing = PlainLines()
    assert framing.result(RECORD, PAYLOAD, 1, 7) == b'{"a": 1}\n'
    assert framing.end(RECORD, 2) == b""
    assert json.loads(framing.error(RECORD, AseError(LOADER_FULL)))["error"]["code"] == 10110
    assert framing.keep_alive() == b"\n"


def test_events_with_envelopes() -> None:
    framing = EnvelopeEvents()
    assert b'"status":1' in framing.result(RECORD, b"{}", 2, 1), "more may follow: the end"
    assert b'"status":2' in framing.end(RECORD, 2)
