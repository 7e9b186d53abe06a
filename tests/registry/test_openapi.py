import asyncio
import re
from pathlib import Path

import schemathesis

from registry.openapi import OPERATIONS, build_openapi
from tests.registry.running import running_registry


def test_the_document_is_valid_and_each_operation_has_a_name() -> None:
    document = build_openapi("1")
    schemathesis.openapi.from_dict(document).validate()
    operations = [o for item in document["paths"].values() for o in item.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len({*ids}) == len(ids) == len(OPERATIONS)
    assert {"get_versions", "get_version", "put_version_files", "get_providers"} <= {*ids}


def test_the_document_has_what_is_served_and_nothing_else(tmp_path: Path) -> None:
    async def run() -> set[tuple[str, str]]:
        async with running_registry(tmp_path) as registry:
            served = await registry.client.get("/openapi.json")
            assert served.json()["paths"] == build_openapi("1")["paths"]
            return {
                (method, re.sub(r":\w+", "", route.path))  # type: ignore[attr-defined]
                for route in registry.process.application().routes
                for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
                if route.path.startswith("/v1/")  # type: ignore[attr-defined]
            }

    assert asyncio.run(run()) == {(o.method, o.path) for o in OPERATIONS}
