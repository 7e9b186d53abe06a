"""The pages about the services: the list, schema and OpenAPI documents, a page to try them."""

import contextlib
import json
import re
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.http.page_files import PageFiles
from gateway.request.negotiation import choose, matches_etag
from gateway.services.catalog import MAX_SERVICES, Catalog, Contract
from rpc.bounded_cache import BoundedCache
from schemas.model import document
from schemas.output import example, openapi
from schemas.output.curl import curl_command
from schemas.output.openapi import Operation
from schemas.output.security_schemes import takes_bearer

DOCS_FOLDER = Path(__file__).parent / "docs"
HOME_FOLDER = Path(__file__).parent / "home"
TITLE = "Athena Serving"
_HOME_LINKS = {
    "docs": "/docs", "openapi": "/openapi.json", "apis": "/v1/apis", "livez": "/livez",
    "readyz": "/readyz",
}  # fmt: skip
_BASE_URL = "http://gateway.invalid"  # stands for that of the request, in a cached command


class Pages:
    """The pages about the services of a catalog.

    `home` are the files of the page at `/`. `count_live_instances` returns the number of live
    instances of a service id. `auth_methods` are the ways in which callers prove who they are.
    `_openapi_cache` holds serialised OpenAPI
    documents by title and contract digests, at most 64; `_curl_commands` the commands by digest.
    """

    def __init__(
        self,
        catalog: Catalog,
        home: PageFiles,
        count_live_instances: Callable[[str], int],
        auth_methods: Sequence[str],
    ) -> None:
        self._catalog = catalog
        self._home = home
        self._auth_methods = auth_methods
        self._count_live_instances = count_live_instances
        self._openapi_cache: BoundedCache[tuple[str, ...], bytes] = BoundedCache(_MAX_CACHED)
        self._curl_commands: BoundedCache[str, str] = BoundedCache(MAX_SERVICES)

    async def home(self, request: Request) -> Response:
        """Return the page for people, or what it shows as JSON to a client that prefers that."""
        media_type = choose(request.headers.get("accept", ""), ("text/html", "application/json"))
        if media_type == "application/json":
            content = {
                "title": TITLE, "version": version("athena-serving"), "links": _HOME_LINKS,
                "apis": self._summaries(request),
            }  # fmt: skip
            return JSONResponse(content, headers={"vary": "accept"})
        page = await self._home.serve(request)
        page.headers.add_vary_header("accept")
        return page

    async def apis(self, request: Request) -> Response:
        """Return the list of services."""
        return JSONResponse({"apis": self._summaries(request)})

    def _summaries(self, request: Request) -> list[dict[str, Any]]:
        base_url = server_url(request)
        return [self._summary(contract, base_url) for contract in self._catalog]

    async def schema(self, request: Request) -> Response:
        """Return the schema document of a service."""
        contract = self._find_contract(request)
        return _etag_response(request, contract.schema_document, contract.digest)

    async def openapi(self, request: Request) -> Response:
        """Return the OpenAPI document of all services."""
        return self._openapi(request, list(self._catalog), TITLE)

    async def service_openapi(self, request: Request) -> Response:
        """Return the OpenAPI document of one service."""
        contract = self._find_contract(request)
        return self._openapi(request, [contract], contract.service.id)

    def _find_contract(self, request: Request) -> Contract:
        return self._catalog.require(request.path_params["service_id"])

    def _openapi(self, request: Request, contracts: Sequence[Contract], title: str) -> Response:
        key = (title, *(f"{contract.digest} {contract.get_events}" for contract in contracts))
        text = self._openapi_cache.entries.get(key)
        if text is None:
            openapi_document = openapi.build_document(
                map(_openapi_operation, contracts),
                title=title,
                version=version("athena-serving"),
                auth_methods=self._auth_methods,
            )
            text = json.dumps(openapi_document, ensure_ascii=False, separators=(",", ":")).encode()
            self._openapi_cache.add(key, text)
        text = openapi.with_server(text, server_url(request))
        response = _etag_response(request, text, document.digest(text))
        response.headers["vary"] = "host, x-forwarded-host, x-forwarded-proto, x-forwarded-prefix"
        return response

    def _summary(self, contract: Contract, base_url: str) -> dict[str, Any]:
        service = contract.service
        curl = self._curl_commands.entries.get(contract.digest)
        if curl is None:
            plain_example = _openapi_operation(contract).plain_example
            curl = curl_command(
                service, _BASE_URL, plain_example, takes_bearer=takes_bearer(self._auth_methods)
            )
            self._curl_commands.add(contract.digest, curl)
        return {
            "service": service.id,
            "version": service.version,
            "description": service.description,
            "route": f"/v1/private/{service.id}",
            "plain": f"/v1/{service.id}",
            "curl": curl.replace(_BASE_URL, base_url, 1),
            "schema": f"/v1/apis/{service.id}/schema",
            "openapi": f"/v1/apis/{service.id}/openapi.json",
            "streams": service.streaming,
            "digest": contract.digest,
            "source": contract.source,
            "instances": self._count_live_instances(service.id),
        }


def server_url(request: Request) -> str:
    """Return the URL at which a client reached this gateway, without a trailing slash.

    A proxy says what it changed by `X-Forwarded-Host`, `X-Forwarded-Proto`, `X-Forwarded-Prefix`.
    """
    headers = request.headers
    scheme = headers.get("x-forwarded-proto", "")
    host = headers.get("x-forwarded-host", "")
    prefix = headers.get("x-forwarded-prefix", "").rstrip("/")
    if scheme not in ("http", "https"):
        scheme = request.url.scheme
    if not _HOST.fullmatch(host):
        host = request.url.netloc  # of the Host header, else the address of the port
    return f"{scheme}://{host}{prefix if _PREFIX.fullmatch(prefix) else ''}"


_HOST = re.compile(r"[A-Za-z0-9._~:\[\]-]{1,255}")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+){0,16}")
_MAX_CACHED = 64  # OpenAPI documents


def _openapi_operation(contract: Contract) -> Operation:
    request_example = plain_example = None
    with contextlib.suppress(example.NoExampleError, ValueError):
        request_example = example.example_request(contract.service, contract.validator)
        plain_example = example.plain_example(contract.service, request_example)
    return Operation(
        contract.service,
        contract.validator.schema,
        request_example,
        contract.get_events,
        plain_example,
    )


def _etag_response(request: Request, text: bytes, digest: str) -> Response:
    etag = f'"{digest}"'
    if matches_etag(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers={"etag": etag})
    return Response(text, media_type="application/json", headers={"etag": etag})
