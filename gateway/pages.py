"""The pages about the services: which there are, how each is asked, and a place to try them."""

import gzip
import json
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.contracts import Catalog, Contract
from schemas import document, example, openapi
from schemas.openapi import Operation

_FILES = Path(__file__).parent / "docs"
_KINDS = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
# Nothing is loaded from elsewhere, and what a page asks goes to where it came from.
_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


class Pages:
    """What is told of the services of a catalog; `instances` returns how many one has."""

    def __init__(self, catalog: Catalog, instances: Callable[[str], int]) -> None:
        self._catalog = catalog
        self._instances = instances
        self._told: dict[tuple[str, ...], bytes] = {}

    async def apis(self, _: Request) -> Response:
        """List the services."""
        return JSONResponse({"apis": [self._line(contract) for contract in self._catalog]})

    async def schema(self, request: Request) -> Response:
        """Return the schema document of a service."""
        contract = self._found(request)
        return _tagged(request, contract.text, contract.digest)

    async def openapi(self, request: Request) -> Response:
        """Return the OpenAPI document of all services."""
        return self._openapi(request, list(self._catalog), "Athena Serving")

    async def openapi_of(self, request: Request) -> Response:
        """Return the OpenAPI document of one service."""
        contract = self._found(request)
        return self._openapi(request, [contract], contract.service.id)

    async def docs(self, request: Request) -> Response:
        """Return a file of the page that shows the OpenAPI document, and tries it."""
        name = request.path_params.get("name", "index.html")
        kind, known = _KINDS.get(Path(name).suffix), {path.name for path in _FILES.iterdir()}
        if kind is None or not {name, f"{name}.gz"} & known:
            raise HTTPException(404, "no such path")
        headers = {
            "content-security-policy": _POLICY,
            "x-content-type-options": "nosniff",
            "cache-control": "no-cache",
            "vary": "accept-encoding",
        }
        if name in known:
            return Response((_FILES / name).read_bytes(), media_type=kind, headers=headers)
        packed = (_FILES / f"{name}.gz").read_bytes()
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            return Response(packed, media_type=kind, headers=headers)
        return Response(gzip.decompress(packed), media_type=kind, headers=headers)

    def _found(self, request: Request) -> Contract:
        contract = self._catalog.find(request.path_params["service_id"])
        if contract is None:
            raise HTTPException(404, "no such service")
        return contract

    def _openapi(self, request: Request, contracts: Sequence[Contract], title: str) -> Response:
        key = (title, *(contract.digest for contract in contracts))
        text = self._told.get(key)
        if text is None:
            told = openapi.build_document(
                map(_operation, contracts), title=title, version=version("athena-serving")
            )
            text = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
            if len(self._told) >= _MOST:
                self._told.clear()
            self._told[key] = text
        return _tagged(request, text, document.digest(text))

    def _line(self, contract: Contract) -> dict[str, Any]:
        service = contract.service
        return {
            "service": service.id,
            "version": service.version,
            "description": service.description,
            "route": f"/v1/private/{service.id}",
            "schema": f"/v1/apis/{service.id}/schema",
            "openapi": f"/v1/apis/{service.id}/openapi.json",
            "streams": service.streaming,
            "digest": contract.digest,
            "source": contract.source,
            "instances": self._instances(service.id),
        }


_MOST = 64  # documents that are kept


def _operation(contract: Contract) -> Operation:
    try:
        made = example.example_request(contract.service, contract.judge)
    except example.NoExampleError:
        made = None
    return Operation(contract.service, contract.judge.schema, made)


def _tagged(request: Request, text: bytes, digest: str) -> Response:
    etag = f'"{digest}"'
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"etag": etag})
    return Response(text, media_type="application/json", headers={"etag": etag})
