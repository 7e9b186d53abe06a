"""Type stubs for the message classes of `wire`, written from their descriptors. Pure text."""

from collections.abc import Mapping

from google.protobuf.descriptor import Descriptor, FieldDescriptor

_HEADER = '''"""Types of the classes in wire.py. Written by `make proto`; do not edit."""

from collections.abc import Iterable, Mapping, MutableMapping

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.containers import (
    RepeatedCompositeFieldContainer,
    RepeatedScalarFieldContainer,
)
from google.protobuf.message import Message

DESCRIPTOR_SET: bytes
POOL: DescriptorPool

def load_pool(descriptor_set: bytes) -> DescriptorPool: ...
def message(full_name: str) -> type[Message]: ...
'''

_SCALARS = {
    FieldDescriptor.CPPTYPE_BOOL: "bool",
    FieldDescriptor.CPPTYPE_STRING: "str",
    FieldDescriptor.CPPTYPE_DOUBLE: "float",
    FieldDescriptor.CPPTYPE_FLOAT: "float",
}


def stub(classes: Mapping[str, Descriptor]) -> str:
    """Return the text of a `.pyi` for classes given as {Python name: descriptor}."""
    names = {descriptor.full_name: name for name, descriptor in classes.items()}
    parts = [_HEADER]
    for name, descriptor in classes.items():
        parts.append(f"\nclass {name}(Message):\n{_body(descriptor, names)}")
    return "".join(parts)


def _body(descriptor: Descriptor, names: Mapping[str, str]) -> str:
    lines = [f"    {value.name}: int\n" for enum in descriptor.enum_types for value in enum.values]
    arguments = []
    for field in descriptor.fields:
        held, given = _types(field, names)
        if field.message_type is not None:
            lines.append(f"    @property\n    def {field.name}(self) -> {held}: ...\n")
        else:
            lines.append(f"    {field.name}: {held}\n")
        arguments.append(f"        {field.name}: {given} = ...,\n")
    init = "".join(
        ["    def __init__(\n        self,\n        *,\n", *arguments, "    ) -> None: ...\n"]
    )
    return "".join(lines) + (init if arguments else "")


def _types(field: FieldDescriptor, names: Mapping[str, str]) -> tuple[str, str]:
    """Return the type a field has when read, and the one its constructor argument takes."""
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        key, value = (_scalar(inner.fields_by_name[part]) for part in ("key", "value"))
        return f"MutableMapping[{key}, {value}]", f"Mapping[{key}, {value}] | None"
    single = names.get(inner.full_name, "Message") if inner is not None else _scalar(field)
    if field.is_repeated:
        kind = "Composite" if inner is not None else "Scalar"
        return f"Repeated{kind}FieldContainer[{single}]", f"Iterable[{single}] | None"
    may_be_unset = inner is not None or field.has_presence
    return single, f"{single} | None" if may_be_unset else single


def _scalar(field: FieldDescriptor) -> str:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return "bytes"
    return _SCALARS.get(field.cpp_type, "int")
