"""The pages about the services, called without a connection."""

import asyncio
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.http.pages import Pages
from gateway.services.catalog import Catalog


def docs(pages: Pages, name: str, accept_encoding: str = "") -> Response:
    scope: dict[str, Any] = {
        "type": "http",
        "headers": [(b"accept-encoding", accept_encoding.encode())],
        "path_params": {"name": name},
    }
    return asyncio.run(pages.docs(Request(scope)))


@pytest.fixture
def pages() -> Pages:
    return Pages(Catalog([], {}, 5.0), lambda _: 0)


def test_compressed_files_are_decompressed_once(pages: Pages) -> None:
    """Decompressing the script takes milliseconds, which every other request would wait for."""
    first, second = (docs(pages, "swagger-ui-bundle.js") for _ in range(2))
    assert first.body is second.body
    assert len(first.body) > 1_000_000


def test_client_that_accepts_gzip_gets_the_stored_form(pages: Pages) -> None:
    response = docs(pages, "swagger-ui.css", "br, gzip")
    assert response.headers["content-encoding"] == "gzip"
    assert bytes(response.body[:2]) == b"\x1f\x8b"
    assert response.headers["content-type"] == "text/css; charset=utf-8"


def test_file_that_is_stored_plainly_is_sent_plainly(pages: Pages) -> None:
    response = docs(pages, "index.html", "gzip")
    assert "content-encoding" not in response.headers
    assert b"<!doctype html>" in bytes(response.body).lower()


@pytest.mark.parametrize(
    "name", ["swagger-ui-bundle.js.LICENSE.txt", "swagger-ui.css.gz", "pages.py", ""]
)
def test_other_files_are_404(pages: Pages, name: str) -> None:
    with pytest.raises(HTTPException) as caught:
        docs(pages, name)
    assert caught.value.status_code == 404
