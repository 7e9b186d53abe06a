"""The pages about the services, called without a connection."""

import asyncio
import gzip
import json
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from aseloader import declare
from gateway.http.page_files import PageFiles
from gateway.http.pages import DOCS_FOLDER, server_url
from gateway.services.catalog import build_contract
from tests.inprocess import InProcessGateway
from tests.requests import statuses_of
from tests.wrappers.probe import Probe


def docs(files: PageFiles, name: str, accept_encoding: str = "") -> Response:
    scope: dict[str, Any] = {
        "type": "http",
        "headers": [(b"accept-encoding", accept_encoding.encode())],
        "path_params": {"name": name},
    }
    return asyncio.run(files.serve(Request(scope)))


@pytest.fixture
def files() -> PageFiles:
    return PageFiles(DOCS_FOLDER)


def test_compressed_files_are_decompressed_once(files: PageFiles) -> None:
    """Decompressing the script takes milliseconds, which every other request would wait for."""
    first, second = (docs(files, "swagger-ui-bundle.js") for _ in range(2))
    assert first.body is second.body
    assert len(first.body) > 1_000_000


def test_client_that_accepts_gzip_gets_the_stored_form(files: PageFiles) -> None:
    response = docs(files, "swagger-ui.css", "br, gzip")
    assert response.headers["content-encoding"] == "gzip"
    assert bytes(response.body[:2]) == b"\x1f\x8b"
    assert response.headers["content-type"] == "text/css; charset=utf-8"


def test_file_that_is_stored_plainly_is_sent_plainly(files: PageFiles) -> None:
    response = docs(files, "index.html", "gzip")
    assert "content-encoding" not in response.headers
    assert b"<!doctype html>" in bytes(response.body).lower()


@pytest.mark.parametrize(
    "name", ["swagger-ui-bundle.js.LICENSE.txt", "swagger-ui.css.gz", "pages.py", ""]
)
def test_other_files_are_404(files: PageFiles, name: str) -> None:
    with pytest.raises(HTTPException) as caught:
        docs(files, name)
    assert caught.value.status_code == 404


# On a connection.

SERVICE_DOCUMENTS = ["/v1/apis/talker/schema", "/v1/apis/talker/openapi.json"]
DOCUMENTS = [*SERVICE_DOCUMENTS, "/openapi.json"]


def fetch(gateway: InProcessGateway, path: str, *lines: str) -> tuple[int, dict[str, str], bytes]:
    """Return the status, the header fields and the body of a page."""
    with gateway.connect() as sock:
        sock.sendall("\r\n".join([f"GET {path} HTTP/1.1", "Host: a", *lines, "", ""]).encode())
        response = b""
        while b"\r\n\r\n" not in response:
            data = sock.recv(1 << 20)
            assert data, response
            response += data
        head, _, body = response.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        while len(body) < int(fields.get("content-length", "0")):
            data = sock.recv(1 << 20)
            assert data, "the page is cut off"
            body += data
    (status,) = statuses_of(head)
    return status, fields, body


def test_list_has_the_live_instances_of_each_service(gateway: InProcessGateway) -> None:
    gateway.count_live_instances = {"probe": 3, "talker": 0}.__getitem__
    apis = json.loads(fetch(gateway, "/v1/apis")[2])["apis"]
    assert [(api["service"], api["instances"], api["streams"]) for api in apis] == [
        ("probe", 3, False),
        ("talker", 0, True),
    ]


def test_list_refers_to_the_documents_of_each_service(gateway: InProcessGateway) -> None:
    for api in json.loads(fetch(gateway, "/v1/apis")[2])["apis"]:
        status, fields, schema = fetch(gateway, api["schema"])
        assert (status, fields["etag"]) == (200, f'"{api["digest"]}"')
        assert json.loads(schema)["meta"]["serviceId"] == api["service"]
        _, _, openapi = fetch(gateway, api["openapi"])
        assert json.loads(openapi)["info"]["title"] == api["service"]
        assert api["route"] in json.loads(openapi)["paths"]


@pytest.mark.parametrize("path", DOCUMENTS)
def test_document_is_not_sent_to_a_client_that_has_it(gateway: InProcessGateway, path: str) -> None:
    status, fields, body = fetch(gateway, path)
    assert (status, fields["content-type"]) == (200, "application/json")
    etag = fields["etag"]
    assert fetch(gateway, path, 'If-None-Match: "old"')[::2] == (200, body)
    status, fields, body = fetch(gateway, path, f"If-None-Match: {etag}")
    assert (status, fields["etag"], body) == (304, etag, b"")


def test_documents_differ_by_their_etags(gateway: InProcessGateway) -> None:
    assert len({fetch(gateway, path)[1]["etag"] for path in DOCUMENTS}) == len(DOCUMENTS)


def test_documents_follow_a_change_of_the_services(gateway: InProcessGateway) -> None:
    etag = fetch(gateway, "/openapi.json")[1]["etag"]
    contract = build_contract(declare.schema(Probe), "file", {}, 5.0)
    gateway.context.dependencies.catalog.reload([contract], {}, 5.0)
    status, fields, body = fetch(gateway, "/openapi.json", f"If-None-Match: {etag}")
    assert status == 200
    assert fields["etag"] != etag
    assert "/v1/private/talker" not in json.loads(body)["paths"]
    for path in SERVICE_DOCUMENTS:
        assert fetch(gateway, path)[0] == 404


FILES: list[tuple[str, str, bool]] = [
    ("", "text/html", False),
    ("/index.html", "text/html", False),
    ("/init.js", "text/javascript", False),
    ("/streams.js", "text/javascript", False),
    ("/swagger-ui.css", "text/css", True),
    ("/swagger-ui-bundle.js", "text/javascript", True),
]


@pytest.mark.parametrize(("name", "media_type", "is_compressed"), FILES)
def test_files_of_the_docs_page(
    gateway: InProcessGateway, name: str, media_type: str, is_compressed: bool
) -> None:
    status, fields, plain = fetch(gateway, f"/docs{name}")
    assert (status, fields["content-type"].partition(";")[0]) == (200, media_type)
    assert "content-encoding" not in fields
    assert fields["x-content-type-options"] == "nosniff"
    assert "default-src 'self'" in fields["content-security-policy"]
    assert fields["vary"] == "accept-encoding"
    _, fields, body = fetch(gateway, f"/docs{name}", "Accept-Encoding: br, gzip")
    assert fields.get("content-encoding") == ("gzip" if is_compressed else None)
    assert (gzip.decompress(body) if is_compressed else body) == plain


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ({}, "http://localhost:8200"),
        ({"x-forwarded-proto": "https", "x-forwarded-host": "api.example"}, "https://api.example"),
        ({"x-forwarded-prefix": "/gw/v2/"}, "http://localhost:8200/gw/v2"),
        ({"x-forwarded-proto": "javascript"}, "http://localhost:8200"),
        ({"x-forwarded-host": 'evil"/x'}, "http://localhost:8200"),
        ({"x-forwarded-prefix": "//evil"}, "http://localhost:8200"),
        ({"x-forwarded-prefix": "/a?b"}, "http://localhost:8200"),
    ],
)
def test_server_of_the_openapi_document_is_as_the_client_reached_us(
    headers: dict[str, str], url: str
) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "scheme": "http", "headers": [(b"host", b"localhost:8200"), *pairs]}
    assert server_url(Request({**scope, "path": "/", "query_string": b""})) == url
