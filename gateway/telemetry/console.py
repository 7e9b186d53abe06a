"""The console: a page on the admin port that shows what the port says, for people.

Its files have no data and need no token; the page asks for one if the port wants it.
"""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway.http.page_files import PageFiles

_FOLDER = Path(__file__).parent / "console_page"


def console_routes(folder: Path = _FOLDER) -> list[Route]:
    """Return the routes of a console whose files are in `folder`; `/` leads to it."""
    files = PageFiles(folder)
    return [
        Route("/", _redirect, methods=["GET"]),
        Route("/console", files.serve, methods=["GET"]),
        Route("/console/{name}", files.serve, methods=["GET"]),
    ]


def is_open_path(path: str) -> bool:
    """Return whether a path of the admin port is served to those who have no token."""
    return path in ("/", "/livez", "/console") or path.startswith("/console/")


async def _redirect(_: Request) -> Response:
    return RedirectResponse("/console")
