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

_MAX_DOCUMENT_BYTES = 256 * 1024  # of the hub (`lb/hub/admission.py`)


class DeclarationError(Exception):
    """An invalid declaration in a wrapper class. `str()` says what to write instead."""


def members(wrapper: type[Wrapper], kind: type[Any]) -> dict[str, Any]:
    """Return the class attributes that are instances of `kind`, by their name in the API.

    They come in the order of their declaration, those of base classes first. A subclass overrides
    an attribute of the same name.
    """
    by_name: dict[str, Any] = {}
    for owner in reversed(wrapper.__mro__):
        by_name |= {
            value.name or attribute: value
            for attribute, value in vars(owner).items()
            if isinstance(value, kind)
        }
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
        streaming=has_method(wrapper, "session"),
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
                value_schema=member.json_type.schema if member.json_type else None,
            )
            for name, member in members(wrapper, Input).items()
        ),
        outputs=tuple(
            declare.PayloadStream(
                name,
                member.kind,
                member.encodings,
                member.format,
                value_schema=member.json_type.schema if member.json_type else None,
            )
            for name, member in members(wrapper, Output).items()
        ),
    )


def schema(wrapper: type[Wrapper]) -> bytes:
    """Return the canonical schema document of a wrapper class, as bytes of JSON.

    Raises DeclarationError if the declaration is invalid.
    """
    api = declaration(wrapper)
    own_document: bytes = getattr(wrapper, "__ase_schema__", b"")  # of a wrapper without fields
    written = own_document or document.canonical(declare.declaration_to_document(api))
    try:
        compile_input(document.service_from_document(document.parse(written)).input)
    except DocumentError as error:
        raise DeclarationError(f"{wrapper.__name__}: {error}") from error
    if len(written) > _MAX_DOCUMENT_BYTES:
        hint = f"its schema has {len(written):,} bytes, hubs take {_MAX_DOCUMENT_BYTES:,}"
        raise DeclarationError(f"{wrapper.__name__}: {hint}; declare simpler types")
    return written


def _check_class(wrapper: type[Wrapper]) -> None:
    class_name = wrapper.__name__
    if not SERVICE_ID.fullmatch(wrapper.service):
        hint = "the id clients put into the URL: letters, digits, '_', '.', '-'"
        raise DeclarationError(f"{class_name}: set `service`, {hint}")
    if wrapper.total < 1:
        raise DeclarationError(f"{class_name}: `total` must be 1 or more requests at a time")
    if wrapper.processes < 1:
        raise DeclarationError(f"{class_name}: `processes` must be 1 or more")
    if wrapper.queue is not None and wrapper.queue < 0:
        raise DeclarationError(f"{class_name}: `queue` must be 0 or more requests that may wait")
    if not members(wrapper, Output):
        raise DeclarationError(f"{class_name}: declare at least one Output")
    _check_methods(wrapper, class_name)
    _check_batch(wrapper, class_name)
    for name in vars(Wrapper):
        if isinstance(getattr(wrapper, name, None), Parameter | Input | Output):
            hint = f"this name is the Wrapper's own; take another, and `name={name!r}`"
            raise DeclarationError(f"{class_name}.{name}: {hint}")
    for name, parameter in members(wrapper, Parameter).items():
        _check_default(f"{class_name}.{name}", parameter)


def has_method(wrapper: type[Wrapper], name: str) -> bool:
    """Return whether a wrapper class has the method `name`: `once`, `session` or `batch`."""
    return callable(getattr(wrapper, name, None))


def accepts_context(wrapper: type[Wrapper], name: str) -> bool:
    """Return whether the method `name` takes the context, after `params` and `inputs`."""
    method = getattr(wrapper, name)
    return _takes_any_count(method) or len(_argument_names(wrapper, name)) > 2


_SIGNATURES = {
    "once": "once(self, params, inputs, context)",
    "session": "session(self, params, inputs, context)",
    "batch": "batch(self, params, inputs, contexts)",
}


def _check_methods(wrapper: type[Wrapper], class_name: str) -> None:
    methods = [name for name in _SIGNATURES if has_method(wrapper, name)]
    if not methods:
        signatures = ", ".join(f"`{signature}`" for signature in _SIGNATURES.values())
        raise DeclarationError(f"{class_name}: write one of {signatures}")
    if "batch" in methods and len(methods) > 1:
        hint = f"`batch` serves every request, `{methods[0]}` none; remove one of them"
        raise DeclarationError(f"{_source_location(wrapper, 'batch')}: {hint}")
    if inspect.iscoroutinefunction(getattr(wrapper, "session", None)):
        hint = "`async def session` without `yield` gives nothing: yield its outputs as they come"
        raise DeclarationError(f"{_source_location(wrapper, 'session')}: {hint}")
    for name in methods:
        if not _accepts_arguments(wrapper, name):
            hint = f"write `{_SIGNATURES[name]}`, with or without its last parameter"
            raise DeclarationError(f"{_source_location(wrapper, name)}: {hint}")
    missing = sorted(getattr(wrapper, "__abstractmethods__", ()))
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        raise DeclarationError(f"{class_name}: write {names}, as the package aiges has it")


def _check_batch(wrapper: type[Wrapper], class_name: str) -> None:
    if wrapper.max_batch < 1:
        raise DeclarationError(f"{class_name}: `max_batch` must be 1 or more requests of a batch")
    if not wrapper.max_wait_ms >= 0:
        raise DeclarationError(f"{class_name}: `max_wait_ms` must be 0 or more milliseconds")
    unknown = [name for name in wrapper.batch_by if name not in members(wrapper, Parameter)]
    if unknown:
        declared = ", ".join(members(wrapper, Parameter)) or "none"
        hint = f"`batch_by` must be a tuple of names of parameters; there is: {declared}"
        raise DeclarationError(f"{class_name}: {hint}")


def _accepts_arguments(wrapper: type[Wrapper], name: str) -> bool:
    """Return whether a method takes `params`, `inputs` and maybe the context, and needs no more."""
    method = getattr(wrapper, name)
    if _takes_any_count(method):
        return True
    if len(_argument_names(wrapper, name)) not in (2, 3):
        return False
    with contextlib.suppress(TypeError):
        inspect.signature(method).bind(*_positional_params(method))
        return True
    return False


def _argument_names(wrapper: type[Wrapper], name: str) -> list[str]:
    """Return the names of the arguments of a method, without `self`."""
    method = getattr(wrapper, name)
    is_static = isinstance(inspect.getattr_static(wrapper, name), staticmethod)
    is_bound = is_static or inspect.ismethod(method)
    return _positional_params(method)[0 if is_bound else 1 :]


def _takes_any_count(method: Any) -> bool:
    """Return whether `method` has `*args`, as a decorator's function may have."""
    parameters = inspect.signature(method).parameters.values()
    return any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters)


def _positional_params(method: Any) -> list[str]:
    """Return the names of the parameters that can be given by position."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(method).parameters.items()
    return [name for name, parameter in parameters if parameter.kind in kinds]


def _source_location(wrapper: type[Wrapper], name: str) -> str:
    """Return "FILE:LINE: class name" of a method, or the class name if there is no source."""
    method = getattr(wrapper, name)
    with contextlib.suppress(OSError, TypeError):
        line = inspect.getsourcelines(method)[1]
        return f"{inspect.getsourcefile(method)}:{line}: {wrapper.__name__}"
    return wrapper.__name__


def _check_default(qualified_name: str, parameter: Parameter) -> None:
    try:
        rules = parameter.rules()
    except ValueError as error:
        raise DeclarationError(f"{qualified_name}: its default {error}") from error
    low, high = rules.get("minimum"), rules.get("maximum")
    if low is not None and high is not None and low > high:
        raise DeclarationError(f"{qualified_name}: minimum {low} is more than maximum {high}")
    try:
        violations = Validator(compile_input(rules)).violations(rules.get("default"))
    except DocumentError as error:
        raise DeclarationError(f"{qualified_name}: {error}") from error
    if violations:
        raise DeclarationError(
            f"{qualified_name}: its default {parameter.default!r} {violations[0].rule}"
        )
