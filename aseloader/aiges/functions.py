"""Wrappers of the first form of `aiges`: functions of a module, which declare no API.

Their schema document is the only `schema_*.json` beside the file. Requests and responses are lists
of dicts with `key`, `data`, `len`, `type` and `status`.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from aseloader.aiges.adapter import adapt
from aseloader.aiges.stand_in import DataListCls, Response, ResponseData, Results
from aseloader.original import call_with_accepted_args
from aseloader.wrapper import Wrapper
from schemas.model import document
from schemas.sources.from_document import declaration_from_document


def has_functions(module: ModuleType) -> bool:
    """Return whether a module is such a wrapper."""
    return callable(getattr(module, "wrapperOnceExec", None)) or callable(
        getattr(module, "wrapperCreate", None)
    )


def adapt_functions(module: ModuleType, schema: bytes) -> type[Wrapper]:
    """Return a wrapper class that serves the functions of a module, as its schema document says.

    Raises DocumentError if the schema is invalid.
    """
    schema_document = document.parse(schema)
    api, _ = declaration_from_document(schema_document)
    wrapper = adapt(_FunctionsOf(module), api, Results())
    wrapper.__name__ = module.__name__
    wrapper.__ase_schema__ = document.canonical(schema_document)  # type: ignore[attr-defined]
    return wrapper


class _FunctionsOf:
    """Stands for the class of a wrapper: called, it returns the object whose methods they are."""

    __doc__ = None
    __name__ = "functions"

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __call__(self) -> "_FunctionsOf":
        return self

    def wrapperInit(self, config: dict[str, str]) -> Any:  # noqa: N802
        return self._call("wrapperInit", config)

    def wrapperFini(self) -> Any:  # noqa: N802
        return self._call("wrapperFini")

    def wrapperError(self, code: int) -> Any:  # noqa: N802
        return self._call("wrapperError", code)

    def wrapperOnceExec(  # noqa: N802
        self, params: dict[str, str], request: DataListCls, tag: str
    ) -> Response:
        items: list[dict[str, Any]] = []
        code = self._call("wrapperOnceExec", tag, params, _to_dicts(request), items, [], 0)
        return _to_response(items, code)

    def wrapperCreate(self, params: dict[str, str], tag: str) -> Any:  # noqa: N802
        return self._call("wrapperCreate", tag, params, [], 0)

    def wrapperWrite(self, handle: str, request: DataListCls) -> Any:  # noqa: N802
        return self._call("wrapperWrite", handle, _to_dicts(request))

    def wrapperRead(self, handle: str) -> Response:  # noqa: N802
        return _to_response(self._call("wrapperRead", handle) or [], 0)

    def wrapperDestroy(self, handle: str) -> Any:  # noqa: N802
        return self._call("wrapperDestroy", handle)

    def _call(self, name: str, *arguments: Any) -> Any:
        """Call a function with as many arguments as it takes; one that is missing returns 0."""
        function: Callable[..., Any] | None = getattr(self._module, name, None)
        return 0 if function is None else call_with_accepted_args(function, *arguments)


def _to_dicts(request: DataListCls) -> list[dict[str, Any]]:
    return [vars(node) for node in request.list]


def _to_response(items: list[dict[str, Any]], code: Any) -> Response:
    response = Response()
    response.error_code = int(code or 0)
    response.list = [
        ResponseData(
            item["key"], item["data"], len(item["data"]), item.get("type", 0), item.get("status", 3)
        )
        for item in items
    ]
    return response
