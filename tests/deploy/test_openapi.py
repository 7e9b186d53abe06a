"""The OpenAPI document of the deployer: of the routes that there are, and all members."""

from deploy.openapi import BASE_PATH, build_openapi
from deploy.workloads.spec import _ALIASES, _MEMBERS


def test_every_operation_has_a_name_and_its_parameters() -> None:
    paths = build_openapi("1.2.3")["paths"]
    ids = [operation["operationId"] for path in paths.values() for operation in path.values()]
    assert len({*ids}) == len(ids) == 15
    for path, operations in paths.items():
        for operation in operations.values():
            places = [p["name"] for p in operation["parameters"] if p["in"] == "path"]
            assert places == (["id"] if "{id}" in path else [])


def test_it_has_every_member_of_a_specification() -> None:
    body = build_openapi("1")["paths"][f"{BASE_PATH}/deploy"]["post"]["requestBody"]
    properties = body["content"]["application/json"]["schema"]["properties"]
    assert {*properties} == {*_MEMBERS, *_ALIASES}
