"""A wrapper class read: its attributes as a declaration, and as its schema document. Pure."""

import inspect
from typing import Any

from aseloader.fields import Input, Output, Parameter
from aseloader.wrapper import Wrapper
from schemas import declare, document


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
        params=tuple(
            declare.Param(name, told.rules(), told.required)
            for name, told in members(wrapper, Parameter).items()
        ),
        inputs=tuple(
            declare.Stream(
                name, told.kind, told.encodings, max_bytes=told.max_bytes, required=told.required
            )
            for name, told in members(wrapper, Input).items()
        ),
        outputs=tuple(
            declare.Stream(name, told.kind, told.encodings, told.format)
            for name, told in members(wrapper, Output).items()
        ),
    )


def schema(wrapper: type[Wrapper]) -> bytes:
    """Return the canonical schema document of a wrapper class. Raises DeclarationError."""
    return document.canonical(declare.document(declaration(wrapper)))


def _check(wrapper: type[Wrapper]) -> None:
    where = wrapper.__name__
    if not wrapper.service:
        raise DeclarationError(f"{where}: set `service`, the id clients put into the URL")
    if wrapper.total < 1:
        raise DeclarationError(f"{where}: `total` must be 1 or more requests at a time")
    if not members(wrapper, Output):
        raise DeclarationError(f"{where}: declare at least one Output")
    if wrapper.once is Wrapper.once:
        raise DeclarationError(f"{where}: write `once(self, params, inputs, context)`")
