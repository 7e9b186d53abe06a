"""Which members of a request's header the gateway reads, by what a schema declares."""

from typing import Any

import pytest

from schemas.model.request_header import (
    app_id_names,
    build_header,
    default_status,
    required_names,
)
from schemas.model.service import Service

TEXT = {"type": "string"}


def service_with(*names: str, required: Any = ()) -> Service:
    header = {"properties": dict.fromkeys(names, TEXT), "required": required}
    return Service("x", "v1", "ase", (), {"properties": {"header": header}}, {})


@pytest.mark.parametrize(
    ("service", "names"),
    [
        (service_with("app_id", "appid", required=["app_id"]), ("app_id",)),
        (service_with("app_id", "appid", required=["appid", "uid"]), ("appid",)),
        (service_with("app_id", "appid", required=["appid", "app_id"]), ("app_id", "appid")),
        (service_with("app_id", "appid"), ("app_id",)),
        (service_with("appid", "uid"), ("appid",)),
        (service_with("uid", required="app_id"), ("app_id",)),
        (Service("x", "v1", "ase", (), {}, {}), ("app_id",)),
    ],
)
def test_app_id_has_the_name_that_the_schema_wants(
    service: Service, names: tuple[str, ...]
) -> None:
    assert app_id_names(service) == names


def test_header_has_a_status_if_declared() -> None:
    assert build_header(service_with("appid"), "me") == {"appid": "me"}
    assert build_header(service_with("app_id", "status"), "me") == {"app_id": "me", "status": 3}


def test_required_names() -> None:
    assert required_names(service_with("appid", required=["appid", "uid"])) == ("appid", "uid")
    assert required_names(service_with("appid", required=None)) == ()


STATUSES: list[tuple[dict[str, Any], list[str], dict[str, int]]] = [
    # the schema of the status, the required members, the status that a request may leave out
    ({"type": "integer", "enum": [3]}, ["app_id"], {"status": 3}),
    ({"type": "integer", "enum": [0, 1, 2, 3]}, [], {"status": 3}),
    ({"type": "integer"}, [], {"status": 3}),
    ({"type": "integer", "enum": [0, 1, 2]}, [], {}),
    ({"type": "integer", "enum": [3]}, ["app_id", "status"], {}),
]


@pytest.mark.parametrize(("rules", "required", "expected"), STATUSES)
def test_status_may_be_left_out_unless_the_schema_requires_it(
    rules: dict[str, Any], required: list[str], expected: dict[str, int]
) -> None:
    header = {"properties": {"app_id": TEXT, "status": rules}, "required": required}
    service = Service("x", "v1", "ase", (), {"properties": {"header": header}}, {})
    assert default_status(service) == expected


def test_undeclared_status_has_no_default() -> None:
    assert default_status(service_with("app_id")) == {}
