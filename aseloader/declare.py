"""A wrapper class read: its attributes as a declaration, and as its schema document. Pure."""

import contextlib
import inspect
import re
from typing import Any

from aseloader.fields import Input, Output, Parameter
from aseloader.wrapper import Wrapper
from schemas import declare, document
from schemas.compile import compile_input
from schemas.document import DocumentError
from schemas.validate import Validator

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


class DeclarationError(Exception):
    """A wrapper class that declares something impossible; `str()` says what to write instead."""


def members(wrapper: type[Wrapper], kind: type[Any]) -> dict[str, Any]:
    """Return the class attributes of a kind, by name, in the order they were declared."""
    found: dict[str, Any] = {}
    for owner in reversed(wrapper.__mro__):
        found |= {name: value for name, value in vars(owner).items() if isinstance(value, kind)}
    return found


def declaration(wrapper: type[Wrapper]) -> declare.Declaration:
    """Return what a wrapper class declares. Raises DeclarationError."""
    _check(wrapper)
    return declare.Declaration(
        id=wrapper.service,
        version=wrapper.version,
        description=inspect.cleandoc(wrapper.__doc__ or "").partition("\n\n")[0],
        deadline=wrapper.deadline,
        idempotent=wrapper.idempotent,
        streaming=wrapper.session is not Wrapper.session,
        params=tuple(
            declare.Param(name, told.rules(), told.required)
            for name, told in members(wrapper, Parameter).items()
        ),
        inputs=tuple(
            declare.PayloadStream(
                name, told.kind, told.encodings, max_bytes=told.max_bytes, required=told.required
            )
            for name, told in members(wrapper, Input).items()
        ),
        outputs=tuple(
            declare.PayloadStream(name, told.kind, told.encodings, told.format)
            for name, told in members(wrapper, Output).items()
        ),
    )


def schema(wrapper: type[Wrapper]) -> bytes:
    """Return the canonical schema document of a wrapper class. Raises DeclarationError."""
    return document.canonical(declare.declaration_to_document(declaration(wrapper)))


def _check(wrapper: type[Wrapper]) -> None:
    where = wrapper.__name__
    if not _ID.fullmatch(wrapper.service):
        words = "the id clients put into the URL: letters, digits, '_', '.', '-'"
        raise DeclarationError(f"{where}: set `service`, {words}")
    if wrapper.total < 1:
        raise DeclarationError(f"{where}: `total` must be 1 or more requests at a time")
    if wrapper.queue is not None and wrapper.queue < 0:
        raise DeclarationError(f"{where}: `queue` must be 0 or more requests that may wait")
    if not members(wrapper, Output):
        raise DeclarationError(f"{where}: declare at least one Output")
    _check_methods(wrapper, where)
    for name in (*members(wrapper, Parameter), *members(wrapper, Input), *members(wrapper, Output)):
        if name in vars(Wrapper):
            raise DeclarationError(f"{where}.{name}: this name is the Wrapper's own; take another")
    for name, told in members(wrapper, Parameter).items():
        _check_default(f"{where}.{name}", told)


def _check_methods(wrapper: type[Wrapper], where: str) -> None:
    if wrapper.once is Wrapper.once and wrapper.session is Wrapper.session:
        words = "write `once(self, params, inputs, context)` or `session(self, params, inputs)`"
        raise DeclarationError(f"{where}: {words}")
    if inspect.iscoroutinefunction(wrapper.session):
        words = "`async def session` without `yield` gives nothing: yield its outputs as they come"
        raise DeclarationError(f"{_place(wrapper.session, where)}: {words}")
    if wrapper.session is not Wrapper.session and not _takes(wrapper.session, 3):
        words = "write `session(self, params, inputs)`, or `session(self, params, inputs, context)`"
        raise DeclarationError(f"{_place(wrapper.session, where)}: {words}")
    missing = sorted(getattr(wrapper, "__abstractmethods__", ()))
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        raise DeclarationError(f"{where}: write {names}, as the package aiges has it")


def _takes(method: Any, least: int) -> bool:
    """Return whether a method can be called with as many arguments as it takes by position.

    That is so many, or one more.
    """
    count = len(positional(method))
    if count not in (least, least + 1):
        return False
    with contextlib.suppress(TypeError):
        inspect.signature(method).bind(*range(count))
        return True
    return False


def positional(method: Any) -> list[str]:
    """Return the parameters that can be given by position."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    told = inspect.signature(method).parameters.items()
    return [name for name, parameter in told if parameter.kind in kinds]


def _place(method: Any, where: str) -> str:
    """Return where a method is written, as an editor has it."""
    with contextlib.suppress(OSError, TypeError):
        return f"{inspect.getsourcefile(method)}:{inspect.getsourcelines(method)[1]}: {where}"
    return where


def _check_default(where: str, told: Parameter) -> None:
    rules = told.rules()
    low, high = rules.get("minimum"), rules.get("maximum")
    if low is not None and high is not None and low > high:
        raise DeclarationError(f"{where}: minimum {low} is more than maximum {high}")
    try:
        broken = Validator(compile_input(rules)).violations(told.default)
    except DocumentError as error:
        raise DeclarationError(f"{where}: {error}") from error
    if broken:
        raise DeclarationError(f"{where}: its default {told.default!r} {broken[0].rule}")
