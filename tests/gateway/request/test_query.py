"""The query of a GET request: each name a path, each value of its type."""

from typing import Any

import pytest

from aseloader import declare
from gateway.request.query import envelope_from_query
from gateway.request.response import HttpError
from schemas.model import document
from tests.wrappers.talker import Talker

SERVICE = document.service_from_document(document.parse(declare.schema(Talker)))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"header": {"status": 3}}),
        ("header.app_id=a%20b+c", {"header": {"status": 3, "app_id": "a b c"}}),
        ("header.status=2", {"header": {"status": 2}}),
        (
            "parameter.talker.many=3&parameter.talker.act=flood",
            {"header": {"status": 3}, "parameter": {"talker": {"many": 3, "act": "flood"}}},
        ),
        (
            "parameter.talker.many=three",  # the validation says what is wrong with it
            {"header": {"status": 3}, "parameter": {"talker": {"many": "three"}}},
        ),
        (
            "payload.text=gr%C3%BC%C3%9Fe&payload.text.encoding=utf8",
            {
                "header": {"status": 3},
                "payload": {"text": {"status": 3, "text": "Z3LDvMOfZQ==", "encoding": "utf8"}},
            },
        ),
        ("payload.other=x", {"header": {"status": 3}, "payload": {"other": "x"}}),
        ("serviceId=talker", {"header": {"status": 3}}),
    ],
    ids=range(8),
)
def test_envelope_of_a_query(query: str, expected: dict[str, Any]) -> None:
    assert envelope_from_query(query.encode(), SERVICE) == expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("app_id=a", "'app_id' is no path of a member, as header.NAME, parameter.talker.NAME"),
        ("parameter.many=3", "'parameter.many' is no path"),
        ("header=1", "'header' is no path"),
        ("payload.text.a.b=1", "'payload.text.a.b' is no path"),
        ("header.app_id=a&header.app_id=b", "'header.app_id' occurs twice"),
        ("header.app_id=%ff", "the query is not UTF-8"),
        ("payload.x=1&payload.x.y=2", "'payload.x.y' is below a member with a value"),
        ("payload.x.y=2&payload.x=1", "'payload.x' has members below it"),
        ("%0a=1", r"'\\n' is no path"),
    ],
)
def test_invalid_query(query: str, message: str) -> None:
    with pytest.raises(HttpError, match=message) as caught:
        envelope_from_query(query.encode(), SERVICE)
    assert caught.value.status == 400
