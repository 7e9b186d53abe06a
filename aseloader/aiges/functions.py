"""Wrappers of the first form of `aiges`: functions of a module, which declare no API.

Their schema document is the only `schema_*.json` beside the file. Requests and responses are lists
of dicts with `key`, `data`, `len`, `type` and `status`.
"""

import inspect
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
    return _with_schema(_FunctionsOf(module), module.__name__, schema, Results())


def wrap_first_form(wrapper: type[Any]) -> Callable[[], Any]:
    """Return a class of aiges itself, or what stands for one whose methods have the first form."""
    return _FunctionsOf(wrapper) if has_first_form(wrapper) else wrapper


def adapt_with_schema(wrapper: type[Any], schema: bytes, results: Results) -> type[Wrapper]:
    """Return a wrapper class that serves a class of aiges, as a schema document says.

    Raises DocumentError if the schema is invalid.
    """
    return _with_schema(wrap_first_form(wrapper), wrapper.__name__, schema, results)


def _with_schema(
    wrapped: Callable[[], Any], name: str, schema: bytes, results: Results
) -> type[Wrapper]:
    schema_document = document.parse(schema)
    api, _ = declaration_from_document(schema_document)
    wrapper = adapt(wrapped, api, results)
    wrapper.__name__ = name
    wrapper.__ase_schema__ = document.canonical(schema_document)  # type: ignore[attr-defined]
    return wrapper


def has_first_form(wrapper: Any) -> bool:
    """Return whether the methods of a class have the parameters of such functions."""
    method = getattr(wrapper, "wrapperOnceExec", None)
    names = [*inspect.signature(method).parameters] if callable(method) else []
    return len([name for name in names if name not in ("self", "cls")]) >= 6


class _FunctionsOf:
    """Stands for the class of a wrapper: called, it returns the object whose methods they are.

    `module` has the functions; if it is a class, its instance has them.
    """

    __doc__ = None
    __name__ = "functions"

    def __init__(self, module: Any) -> None:
        self._module = module

    def __call__(self) -> "_FunctionsOf":
        if isinstance(self._module, type):
            self._module = self._module()
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
        return self._call("wrapperCreate", tag, params, [], 0, [])

    def wrapperWrite(self, handle: str, request: DataListCls) -> Any:  # noqa: N802
        return self._call("wrapperWrite", handle, _to_dicts(request))

    def wrapperRead(self, handle: str) -> Response:  # noqa: N802
        items: list[dict[str, Any]] = []
        result = self._call("wrapperRead", handle, items)
        # The first form returns a code and fills the list, later ones return the list.
        if isinstance(result, list):
            return _to_response(result, 0)
        return _to_response(items, result)

    def wrapperDestroy(self, handle: str) -> Any:  # noqa: N802
        misspelt = not hasattr(self._module, "wrapperDestroy")  # the original looks for this name
        return self._call("wrapperDestory" if misspelt else "wrapperDestroy", handle)

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
