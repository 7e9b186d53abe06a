"""Validation of a wrapper class, and its conversion to a declaration and a schema document.

Pure: no I/O, no clock.
"""

import contextlib
import inspect
from typing import Any

from aseloader.fields import Input, Output, Parameter
from aseloader.wrapper import Wrapper
from schemas.model import document
from schemas.model.document import DocumentError
from schemas.model.service import SERVICE_ID
from schemas.sources import declare
from schemas.validation.compile import compile_input
from schemas.validation.validate import Validator


class DeclarationError(Exception):
    """An invalid declaration in a wrapper class. `str()` says what to write instead."""


def members(wrapper: type[Wrapper], kind: type[Any]) -> dict[str, Any]:
    """Return the class attributes that are instances of `kind`, by name.

    They come in the order of their declaration, those of base classes first. A subclass overrides
    an attribute of the same name.
    """
    by_name: dict[str, Any] = {}
    for owner in reversed(wrapper.__mro__):
        by_name |= {name: value for name, value in vars(owner).items() if isinstance(value, kind)}
    return by_name


def declaration(wrapper: type[Wrapper]) -> declare.Declaration:
    """Return the declaration of a wrapper class. Raises DeclarationError if it is invalid.

    The first paragraph of the class docstring is the description.
    """
    _check_class(wrapper)
    return declare.Declaration(
        id=wrapper.service,
        version=wrapper.version,
        description=inspect.cleandoc(wrapper.__doc__ or "").partition("\n\n")[0],
        deadline=wrapper.deadline,
        idempotent=wrapper.idempotent,
        streaming=wrapper.session is not Wrapper.session,
        params=tuple(
            declare.Param(name, member.rules(), member.required)
            for name, member in members(wrapper, Parameter).items()
        ),
        inputs=tuple(
            declare.PayloadStream(
                name,
                member.kind,
                member.encodings,
                max_bytes=member.max_bytes,
                required=member.required,
            )
            for name, member in members(wrapper, Input).items()
        ),
        outputs=tuple(
            declare.PayloadStream(name, member.kind, member.encodings, member.format)
            for name, member in members(wrapper, Output).items()
        ),
    )


def schema(wrapper: type[Wrapper]) -> bytes:
    """Return the canonical schema document of a wrapper class, as bytes of JSON.

    Raises DeclarationError if the declaration is invalid.
    """
    return document.canonical(declare.declaration_to_document(declaration(wrapper)))


def _check_class(wrapper: type[Wrapper]) -> None:
    class_name = wrapper.__name__
    if not SERVICE_ID.fullmatch(wrapper.service):
        hint = "the id clients put into the URL: letters, digits, '_', '.', '-'"
        raise DeclarationError(f"{class_name}: set `service`, {hint}")
    if wrapper.total < 1:
        raise DeclarationError(f"{class_name}: `total` must be 1 or more requests at a time")
    if wrapper.queue is not None and wrapper.queue < 0:
        raise DeclarationError(f"{class_name}: `queue` must be 0 or more requests that may wait")
    if not members(wrapper, Output):
        raise DeclarationError(f"{class_name}: declare at least one Output")
    _check_methods(wrapper, class_name)
    for name in (*members(wrapper, Parameter), *members(wrapper, Input), *members(wrapper, Output)):
        if name in vars(Wrapper):
            raise DeclarationError(
                f"{class_name}.{name}: this name is the Wrapper's own; take another"
            )
    for name, parameter in members(wrapper, Parameter).items():
        _check_default(f"{class_name}.{name}", parameter)


def _check_methods(wrapper: type[Wrapper], class_name: str) -> None:
    if wrapper.once is Wrapper.once and wrapper.session is Wrapper.session:
        hint = "write `once(self, params, inputs, context)` or `session(self, params, inputs)`"
        raise DeclarationError(f"{class_name}: {hint}")
    if inspect.iscoroutinefunction(wrapper.session):
        hint = "`async def session` without `yield` gives nothing: yield its outputs as they come"
        raise DeclarationError(f"{_source_location(wrapper.session, class_name)}: {hint}")
    if wrapper.session is not Wrapper.session and not _accepts_positional(wrapper.session, 3):
        hint = "write `session(self, params, inputs)`, or `session(self, params, inputs, context)`"
        raise DeclarationError(f"{_source_location(wrapper.session, class_name)}: {hint}")
    missing = sorted(getattr(wrapper, "__abstractmethods__", ()))
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        raise DeclarationError(f"{class_name}: write {names}, as the package aiges has it")


def _accepts_positional(method: Any, min_count: int) -> bool:
    """Return whether `method` can be called with `min_count` or `min_count` + 1 arguments.

    It must have exactly that number of positional parameters, and no required keyword-only one.
    """
    count = len(positional_params(method))
    if count not in (min_count, min_count + 1):
        return False
    with contextlib.suppress(TypeError):
        inspect.signature(method).bind(*range(count))
        return True
    return False


def positional_params(method: Any) -> list[str]:
    """Return the names of the parameters that can be given by position, `self` among them."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(method).parameters.items()
    return [name for name, parameter in parameters if parameter.kind in kinds]


def _source_location(method: Any, class_name: str) -> str:
    """Return "FILE:LINE: class name" of a method, or the class name if there is no source."""
    with contextlib.suppress(OSError, TypeError):
        return f"{inspect.getsourcefile(method)}:{inspect.getsourcelines(method)[1]}: {class_name}"
    return class_name


def _check_default(qualified_name: str, parameter: Parameter) -> None:
    rules = parameter.rules()
    low, high = rules.get("minimum"), rules.get("maximum")
    if low is not None and high is not None and low > high:
        raise DeclarationError(f"{qualified_name}: minimum {low} is more than maximum {high}")
    try:
        violations = Validator(compile_input(rules)).violations(parameter.default)
    except DocumentError as error:
        raise DeclarationError(f"{qualified_name}: {error}") from error
    if violations:
        raise DeclarationError(
            f"{qualified_name}: its default {parameter.default!r} {violations[0].rule}"
        )
