"""The files of a page: HTML, scripts and styles, with what keeps them to their own origin."""

import gzip
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.request.negotiation import accepts

_MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
# Pages load nothing from other origins, and send their requests only to their own.
_CONTENT_SECURITY_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "media-src 'self' data: blob:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


class PageFiles:
    """The files of a page, read and decompressed once, at the first request."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def serve(self, request: Request) -> Response:
        """Return a file, `index.html` by default. Raises HTTPException 404 if there is none."""
        file = self._files.get(request.path_params.get("name", "index.html"))
        if file is None:
            raise HTTPException(404, "no such path")
        headers = {
            "content-security-policy": _CONTENT_SECURITY_POLICY,
            "x-content-type-options": "nosniff",
            "cache-control": "no-cache",
            "vary": "accept-encoding",
        }
        if file.compressed and accepts(request.headers.get("accept-encoding", ""), "gzip"):
            headers["content-encoding"] = "gzip"
            return Response(file.compressed, media_type=file.media_type, headers=headers)
        return Response(file.content, media_type=file.media_type, headers=headers)

    @cached_property
    def _files(self) -> dict[str, "_PageFile"]:
        files = map(_read_page_file, self._folder.iterdir())
        return {file.name: file for file in files if file.media_type}


@dataclass(frozen=True, slots=True)
class _PageFile:
    """A file of the page; `compressed` is its gzip form, empty if it is not stored so.

    `media_type` is empty for a file that is not served.
    """

    name: str
    media_type: str
    content: bytes
    compressed: bytes


def _read_page_file(path: Path) -> _PageFile:
    data = path.read_bytes()
    name = path.name.removesuffix(".gz")
    media_type = _MEDIA_TYPES.get(Path(name).suffix, "")
    if name == path.name:
        return _PageFile(name, media_type, data, b"")
    return _PageFile(name, media_type, gzip.decompress(data), data)
