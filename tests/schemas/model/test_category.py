"""Category routing: rules AND, values OR, compared as strings, first by priority."""

from typing import Any

import pytest

from schemas.model import category, document
from schemas.model.category import RouteMatch

SERVICE = document.service_from_document(
    {
        "meta": {
            "serviceId": "any",
            "service": [],
            "routeKey": ["ent", "vcn"],
            "subRoute": [
                {"subServiceId": "b", "priority": 1, "rules": {"$.parameter.iat.ent": "x"}},
                {
                    "subServiceId": "a",
                    "priority": 2,
                    "rules": {"$.parameter.iat.ent": ["x", "y"], "$.parameter.iat.vcn": "1"},
                },
            ],
        }
    }
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"parameter": {"iat": {"ent": "x", "vcn": 1}}}, RouteMatch("a", "x_1")),
        ({"parameter": {"iat": {"ent": "y", "vcn": "1"}}}, RouteMatch("a", "y_1")),
        ({"parameter": {"iat": {"ent": "x", "vcn": 2}}}, RouteMatch("b", "x")),
        ({"parameter": {"iat": {"ent": "x"}}}, RouteMatch("b", "x")),
        ({"parameter": {"iat": {"ent": "z"}}}, None),
        ({"parameter": {"iat": None}}, None),
        ({"parameter": []}, None),
        ({}, None),
    ],
    ids=str,
)
def test_choose_sub_service(body: dict[str, Any], expected: RouteMatch | None) -> None:
    assert category.choose_sub_service(SERVICE, body) == expected
