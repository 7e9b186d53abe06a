"""The OpenAPI document of the deployer: of the routes that there are, and all members."""

import asyncio
import re
from pathlib import Path

import schemathesis
from starlette.routing import Route

from deploy.openapi import BASE_PATH, build_openapi
from deploy.workloads.spec import _ALIASES, _MEMBERS
from tests.deploy.running import running_deployer


def test_every_operation_has_a_name_and_its_parameters() -> None:
    paths = build_openapi("1.2.3")["paths"]
    ids = [operation["operationId"] for path in paths.values() for operation in path.values()]
    assert len({*ids}) == len(ids)
    for path, operations in paths.items():
        for operation in operations.values():
            places = [p["name"] for p in operation["parameters"] if p["in"] == "path"]
            assert places == re.findall(r"{(\w+)}", path)


def test_every_route_is_documented_and_no_other(tmp_path: Path) -> None:
    async def routes() -> set[tuple[str, str]]:
        async with running_deployer(tmp_path) as deployer:
            served = (await deployer.client.get("/openapi.json")).json()
            assert served == build_openapi("1")
            schemathesis.openapi.from_dict(served).validate()
            return {
                (route.path, method)
                for route in deployer.application.routes
                if isinstance(route, Route) and route.path != "/openapi.json"
                for method in route.methods or ()
                if method != "HEAD"
            }

    documented = {
        (path, method.upper())
        for path, operations in build_openapi("1")["paths"].items()
        for method in operations
    }
    assert documented == asyncio.run(routes())


def test_it_has_every_member_of_a_specification() -> None:
    body = build_openapi("1")["paths"][f"{BASE_PATH}/deploy"]["post"]["requestBody"]
    properties = body["content"]["application/json"]["schema"]["properties"]
    assert {*properties} == {*_MEMBERS, *_ALIASES}
