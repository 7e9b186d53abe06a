"""Content types and app ids, as tables."""

from typing import Any

import pytest

from gateway.request.checks import affinity_key, check_app_id, check_content_headers
from gateway.request.response import HttpError
from schemas.model.errors import BAD_APP, AseError


@pytest.mark.parametrize(
    ("content_type", "encoding", "accepted"),
    [
        ("application/json", "", True),
        ("application/json;charset=utf-8", "identity", True),
        ('Application/Json; charset="UTF-8"', "", True),
        ("application/json; charset=latin-1", "", False),
        ("application/json-patch", "", False),
        ("text/json", "", False),
        ("", "", False),
        ("application/json", "gzip", False),
        ("application/json", "gzip, gzip", False),
    ],
)
def test_content_headers(content_type: str, encoding: str, accepted: bool) -> None:
    headers = {b"content-type": content_type.encode()}
    headers |= {b"content-encoding": encoding.encode()} if encoding else {}
    if accepted:
        check_content_headers(headers)
    else:
        with pytest.raises(HttpError) as caught:
            check_content_headers(headers)
        assert caught.value.status == 415


@pytest.mark.parametrize(
    ("body", "consumer", "status"),
    [
        ({"header": {"app_id": "a"}}, "", 0),
        ({"header": {"appid": "a"}}, "", 0),
        ({"header": {"app_id": "a"}}, "a", 0),
        ({"header": {"app_id": "a"}}, "b", 403),
        ({"header": {"app_id": "a", "appid": "a"}}, "a", 0),
        ({"header": {"app_id": "a", "appid": "victim"}}, "a", 403),
        ({"header": {"app_id": "a", "appid": 7}}, "", 400),
        ({"header": {"app_id": ""}}, "", 400),
        ({"header": {"app_id": 7}}, "", 400),
        ({"header": {"app_id": ["a"]}}, "", 400),
        ({"header": None}, "", 400),
        ({"header": "a"}, "", 400),
        ({}, "a", 400),
    ],
    ids=str,
)
def test_app_id(body: dict[str, Any], consumer: str, status: int) -> None:
    headers = {b"x-consumer-username": consumer.encode()}
    if not status:
        check_app_id(body, headers, "X-Consumer-Username")
        return
    with pytest.raises(AseError) as caught:
        check_app_id(body, headers, "X-Consumer-Username")
    assert caught.value.spec is BAD_APP
    assert getattr(caught.value, "status", 400) == status


def test_app_id_check_can_be_disabled() -> None:
    check_app_id({"header": {"app_id": "a"}}, {b"x-consumer-username": b"b"}, "")


@pytest.mark.parametrize(
    ("path", "expected_key"),
    [
        ("header.uid", "u-1"),
        ("parameter.ocr.page", "7"),
        ("header", ""),  # an object is no key
        ("header.none", ""),
        ("header.uid.deeper", ""),
        ("parameter.ocr.fast", ""),
        ("parameter.ocr.nothing", ""),
    ],
)
def test_affinity_key_is_the_scalar_at_a_path(path: str, expected_key: str) -> None:
    body = {
        "header": {"uid": "u-1"},
        "parameter": {"ocr": {"page": 7, "fast": True, "nothing": None}},
    }
    assert affinity_key(body, tuple(path.split("."))) == expected_key
