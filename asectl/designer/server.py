"""The server of the designer: its page, checks, imports, and saving to files or the registry."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from asectl.designer import design
from asectl.main import Failure
from gateway.http.page_files import PageFiles

_PAGE_FOLDER: Final = Path(__file__).with_name("page")
_MAX_BODY: Final = 1024 * 1024
_TRY_TIMEOUT_S: Final = 30.0


class DesignerError(Exception):
    """A request that cannot be done; `str()` says why, and the cure."""


@dataclass(slots=True)
class Workspace:
    """Where a design is saved: a file, the folder of schemas, the registry, and who is tried.

    `push` puts a schema document into the registry and returns where; it raises Failure. `gateway`
    is the URL that a try asks. `_digest` is that of the file as it was read or written last, so
    that the change of another editor is not overwritten.
    """

    file: Path
    schemas: Path
    gateway: str
    push: Callable[[dict[str, Any], str, str], str]
    _digest: str = field(default="", init=False)

    def read(self) -> dict[str, Any]:
        """Return the tree of the file, an empty design if there is none. Raises DesignerError."""
        try:
            raw = self.file.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise DesignerError(f"{self.file}: {error.strerror}") from None
        self._digest = hashlib.sha256(raw).hexdigest()
        try:
            return design.import_declaration(self.file.name, raw.decode("utf-8-sig"))
        except (design.DeclarationImportError, UnicodeDecodeError) as error:
            raise DesignerError(f"{self.file}: {error}") from None

    def save(self, checked: design.Design) -> list[str]:
        """Write the declaration and its schema; return the paths. Raises DesignerError."""
        if self.file.exists():
            digest = hashlib.sha256(self.file.read_bytes()).hexdigest()
            if digest != self._digest:
                message = f"{self.file} has changed since: load it again, or name another file"
                raise DesignerError(message)
        file = self.file
        if file.suffix not in (".yaml", ".yml"):  # an import is not overwritten in another form
            raise DesignerError(f"{file}: a design is saved as YAML; name a .yaml file")
        schema_path = self.schemas / f"schema_{checked.service}.json"
        try:
            for path, text in ((file, checked.yaml), (schema_path, checked.schema)):
                path.parent.mkdir(parents=True, exist_ok=True)
                part = path.with_name(f"{path.name}.part")
                part.write_text(text, encoding="utf-8")
                part.replace(path)
        except OSError as error:
            raise DesignerError(f"{error.filename}: {error.strerror}") from None
        self._digest = hashlib.sha256(file.read_bytes()).hexdigest()
        return [str(file), str(schema_path)]


def build_app(workspace: Workspace) -> Starlette:
    """Return the application of the designer."""
    return Starlette(routes=_Designer(workspace).routes())


class _Designer:
    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._files = PageFiles(_PAGE_FOLDER)

    def routes(self) -> list[Route]:
        return [
            Route("/", self._files.serve),
            Route("/page/{name}", self._files.serve),
            Route("/livez", _livez),
            Route("/design", self._open),
            Route("/check", self._check, methods=["POST"]),
            Route("/import", self._import, methods=["POST"]),
            Route("/save", self._save, methods=["POST"]),
            Route("/push", self._push, methods=["POST"]),
            Route("/try", self._try, methods=["POST"]),
        ]

    async def _open(self, _: Request) -> Response:
        try:
            tree = self._workspace.read()
        except DesignerError as error:
            return _refused(error)
        file, gateway = str(self._workspace.file), self._workspace.gateway
        return JSONResponse({"file": file, "gateway": gateway, "tree": tree})

    async def _check(self, request: Request) -> Response:
        return JSONResponse(design.check(await _read(request)).to_json())

    async def _import(self, request: Request) -> Response:
        body = await _read(request)
        try:
            tree = design.import_declaration(str(body.get("name")), str(body.get("text")))
        except design.DeclarationImportError as error:
            return _refused(error)
        return JSONResponse({"tree": tree})

    async def _save(self, request: Request) -> Response:
        checked = design.check(await _read(request))
        if checked.problems:
            return _refused(DesignerError("the design has problems: see its fields"))
        try:
            return JSONResponse({"saved": self._workspace.save(checked)})
        except DesignerError as error:
            return _refused(error)

    async def _push(self, request: Request) -> Response:
        tree = await _read(request)
        checked = design.check(tree)
        if checked.problems:
            return _refused(DesignerError("the design has problems: see its fields"))
        metadata = tree.get("metadata", {})
        try:
            version = await asyncio.to_thread(
                self._workspace.push, metadata, checked.service, checked.schema
            )
        except Failure as error:
            return _refused(error)
        return JSONResponse({"pushed": version})

    async def _try(self, request: Request) -> Response:
        """Send a request to the gateway; the page itself may ask no other origin."""
        body = await _read(request)
        url = f"{self._workspace.gateway}/v1/private/{body.get('service')}"
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=_TRY_TIMEOUT_S) as client:
                answer = await client.post(url, json=body.get("request"))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _refused(DesignerError(f"{url}: {error}; asectl up runs a gateway"))
        return JSONResponse({"status": answer.status_code, "body": answer.text})


async def _livez(_: Request) -> Response:
    return JSONResponse({"status": "alive"})


async def _read(request: Request) -> dict[str, Any]:
    """Return a JSON body; an empty object for one that is none, or too large."""
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > _MAX_BODY:
            return {}
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _refused(error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)
