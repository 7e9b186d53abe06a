"""Rendering of a declaration as Python source: an `aseloader` wrapper to be completed. Pure."""

import keyword
import re
from collections.abc import Iterator, Mapping
from typing import Any

from schemas.output.python_text import docstring_body
from schemas.sources import declare, from_document, python_source
from schemas.sources.declare import MAX_BYTES, Declaration, PayloadStream

_FIELD_CLASSES = {
    "integer": "Integer",
    "number": "Number",
    "boolean": "Boolean",
    "string": "String",
}
_ARGUMENT_NAMES = {
    "minimum": "minimum", "maximum": "maximum", "minLength": "min_length",
    "maxLength": "max_length", "pattern": "pattern", "default": "default", "description": "doc",
}  # fmt: skip


def render_wrapper(api: Declaration) -> tuple[str, list[str]]:
    """Return the source of a wrapper that declares `api`, and the document paths that it loses.

    The losses are found by reading the source again and comparing the two schema documents.
    """
    fields = [*_param_lines(api), *_stream_lines(api)]
    used_classes = {line.partition(" = ")[2].partition("(")[0] for line in fields}
    class_name = "".join(part.title() for part in re.split(r"[^A-Za-z0-9]", api.id))
    class_name = f"Service{class_name}" if not class_name[:1].isalpha() else class_name
    source = _MODULE_TEMPLATE.format(
        abstract="AsyncIterator, Mapping" if api.streaming else "Mapping",
        imports=", ".join(sorted({*used_classes, "Wrapper"})),
        name=class_name,
        doc=docstring_body(api.description or f"The service {api.id}."),
        head="\n    ".join(_attribute_lines(api)),
        fields="\n    ".join(fields),
        method=(_SESSION_TEMPLATE if api.streaming else _ONCE_TEMPLATE).format(
            outputs=", ".join(
                f'"{rendered_document.name}": b""' for rendered_document in api.outputs
            )
        ),
    )
    rendered_document = declare.declaration_to_document(
        python_source.declaration_from_source(source)
    )
    return source, list(
        from_document.differences(declare.declaration_to_document(api), rendered_document, ())
    )


_MODULE_TEMPLATE = '''"""A loader."""

from collections.abc import {abstract}
from typing import Any

from aseloader import {imports}


class {name}(Wrapper):
    """{doc}"""

    {head}

    {fields}

{method}'''

_ONCE_TEMPLATE = '''\
    def once(self, params: Any, inputs: Mapping[str, Any], context: Any) -> Mapping[str, Any]:
        """Serve one request."""
        return {{{outputs}}}
'''

_SESSION_TEMPLATE = '''\
    async def session(self, params: Any, inputs: AsyncIterator[Mapping[str, Any]]) -> Any:
        """Serve a stream, frame by frame."""
        async for _ in inputs:
            yield {{{outputs}}}
'''


def _attribute_lines(api: Declaration) -> Iterator[str]:
    yield f"service = {api.id!r}"
    yield f"version = {api.version!r}"
    if api.deadline is not None:
        yield f"deadline = {api.deadline!r}"
    if api.idempotent:
        yield "idempotent = True"


def _param_lines(api: Declaration) -> Iterator[str]:
    for param in api.params:
        rules = dict(param.rules)
        default_class = _FIELD_CLASSES.get(str(rules.pop("type", "")), "String")
        choices = rules.pop("enum", None)
        arguments = [repr(choice) for choice in choices] if choices else []
        field_class = "Choice" if choices else default_class
        keyword_arguments = {
            _ARGUMENT_NAMES[key]: value for key, value in rules.items() if key in _ARGUMENT_NAMES
        }
        arguments += [f"{key}={value!r}" for key, value in keyword_arguments.items()]
        arguments += ["required=True"] if param.required else []
        yield from _field_line(param.name, field_class, arguments)


def _stream_lines(api: Declaration) -> Iterator[str]:
    for stream in api.inputs:
        required_argument = {"required": stream.required} if not stream.required else {}
        max_bytes_argument = (
            {"max_bytes": stream.max_bytes} if stream.max_bytes != MAX_BYTES else {}
        )
        yield from _field_line(
            stream.name,
            "Input",
            _stream_arguments(stream, {**max_bytes_argument, **required_argument}),
        )
    for stream in api.outputs:
        yield from _field_line(
            stream.name,
            "Output",
            _stream_arguments(stream, {"format": stream.format} if stream.format else {}),
        )


def _stream_arguments(stream: PayloadStream, extra: Mapping[str, Any]) -> list[str]:
    encodings = {"encodings": stream.encodings} if stream.encodings else {}
    return [
        repr(stream.data_type.key),
        *(f"{key}={v!r}" for key, v in {**encodings, **extra}.items()),
    ]


def _field_line(name: str, field_class: str, arguments: list[str]) -> Iterator[str]:
    """Yield the source line of a field.

    A field whose name is not a Python identifier is omitted; `render_wrapper` reports it as lost.
    """
    if name.isidentifier() and not keyword.iskeyword(name):
        yield f"{name} = {field_class}({', '.join(arguments)})"
