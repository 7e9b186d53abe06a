"""A declaration, as the Python source of an `aseloader` wrapper, ready to be filled in. Pure."""

import keyword
import re
from collections.abc import Iterator, Mapping
from typing import Any

from schemas import declare, recall, scan
from schemas.declare import MAX_BYTES, Declaration, Stream

_FIELDS = {"integer": "Integer", "number": "Number", "boolean": "Boolean", "string": "String"}
_WORDS = {
    "minimum": "minimum", "maximum": "maximum", "minLength": "min_length",
    "maxLength": "max_length", "pattern": "pattern", "default": "default", "description": "doc",
}  # fmt: skip


def python(api: Declaration) -> tuple[str, list[str]]:
    """Return the source of a wrapper that declares an API, and each place of it that is lost."""
    fields = [*_params(api), *_streams(api)]
    used = {line.partition(" = ")[2].partition("(")[0] for line in fields}
    name = "".join(part.title() for part in re.split(r"[^A-Za-z0-9]", api.id))
    name = f"Service{name}" if not name[:1].isalpha() else name
    source = _SOURCE.format(
        abstract="AsyncIterator, Mapping" if api.streams else "Mapping",
        imports=", ".join(sorted({*used, "Wrapper"})),
        name=name,
        doc=(api.description or f"The service {api.id}.").replace('"""', "'''"),
        head="\n    ".join(_head(api)),
        fields="\n    ".join(fields),
        method=(_SESSION if api.streams else _ONCE).format(
            outputs=", ".join(f'"{told.name}": b""' for told in api.outputs)
        ),
    )
    told = declare.document(scan.declaration(source))
    return source, list(recall.differences(declare.document(api), told, ()))


_SOURCE = '''"""A loader."""

from collections.abc import {abstract}
from typing import Any

from aseloader import {imports}


class {name}(Wrapper):
    """{doc}"""

    {head}

    {fields}

{method}'''

_ONCE = '''\
    def once(self, params: Any, inputs: Mapping[str, Any], context: Any) -> Mapping[str, Any]:
        """Serve one request."""
        return {{{outputs}}}
'''

_SESSION = '''\
    async def session(self, params: Any, inputs: AsyncIterator[Mapping[str, Any]]) -> Any:
        """Serve a stream, frame by frame."""
        async for _ in inputs:
            yield {{{outputs}}}
'''


def _head(api: Declaration) -> Iterator[str]:
    yield f"service = {api.id!r}"
    yield f"version = {api.version!r}"
    if api.deadline is not None:
        yield f"deadline = {api.deadline!r}"
    if api.idempotent:
        yield "idempotent = True"


def _params(api: Declaration) -> Iterator[str]:
    for param in api.params:
        rules = dict(param.rules)
        kind = _FIELDS.get(str(rules.pop("type", "")), "String")
        words = rules.pop("enum", None)
        arguments = [repr(word) for word in words] if words else []
        field = "Choice" if words else kind
        told = {_WORDS[key]: value for key, value in rules.items() if key in _WORDS}
        arguments += [f"{key}={value!r}" for key, value in told.items()]
        arguments += ["required=True"] if param.required else []
        yield from _line(param.name, field, arguments)


def _streams(api: Declaration) -> Iterator[str]:
    for told in api.inputs:
        more = {"required": told.required} if not told.required else {}
        bytes_ = {"max_bytes": told.max_bytes} if told.max_bytes != MAX_BYTES else {}
        yield from _line(told.name, "Input", _stream(told, {**bytes_, **more}))
    for told in api.outputs:
        yield from _line(
            told.name, "Output", _stream(told, {"format": told.format} if told.format else {})
        )


def _stream(told: Stream, more: Mapping[str, Any]) -> list[str]:
    encodings = {"encodings": told.encodings} if told.encodings else {}
    return [repr(told.kind.key), *(f"{key}={v!r}" for key, v in {**encodings, **more}.items())]


def _line(name: str, field: str, arguments: list[str]) -> Iterator[str]:
    """Yield a field's line; one whose name is none in Python is left out, and so told as lost."""
    if name.isidentifier() and not keyword.iskeyword(name):
        yield f"{name} = {field}({', '.join(arguments)})"
