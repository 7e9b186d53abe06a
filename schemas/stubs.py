"""Type stubs for the message classes of `wire`, rendered from their descriptors. Pure text."""

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


def render_stub(classes: Mapping[str, Descriptor]) -> str:
    """Return the text of a `.pyi` file for `classes`, a mapping of Python name to descriptor."""
    names = {descriptor.full_name: name for name, descriptor in classes.items()}
    parts = [_HEADER]
    for name, descriptor in classes.items():
        parts.append(f"\nclass {name}(Message):\n{_class_body(descriptor, names)}")
    return "".join(parts)


def _class_body(descriptor: Descriptor, names: Mapping[str, str]) -> str:
    lines = [f"    {value.name}: int\n" for enum in descriptor.enum_types for value in enum.values]
    arguments = []
    for field in descriptor.fields:
        attribute_type, argument_type = _field_types(field, names)
        if field.message_type is not None:
            lines.append(f"    @property\n    def {field.name}(self) -> {attribute_type}: ...\n")
        else:
            lines.append(f"    {field.name}: {attribute_type}\n")
        arguments.append(f"        {field.name}: {argument_type} = ...,\n")
    init = "".join(
        ["    def __init__(\n        self,\n        *,\n", *arguments, "    ) -> None: ...\n"]
    )
    return "".join(lines) + (init if arguments else "")


def _field_types(field: FieldDescriptor, names: Mapping[str, str]) -> tuple[str, str]:
    """Return the type of a field's attribute and the type of its constructor argument."""
    message_type = field.message_type
    if message_type is not None and message_type.GetOptions().map_entry:
        key, value = (
            _item_type(message_type.fields_by_name[entry_field], names)
            for entry_field in ("key", "value")
        )
        # A message in a map is changed in place: it cannot be assigned.
        is_message = message_type.fields_by_name["value"].message_type is not None
        mapping = "Mapping" if is_message else "MutableMapping"
        return f"{mapping}[{key}, {value}]", f"Mapping[{key}, {value}] | None"
    item_type = _item_type(field, names)
    if field.is_repeated:
        container_kind = "Composite" if message_type is not None else "Scalar"
        return (
            f"Repeated{container_kind}FieldContainer[{item_type}]",
            f"Iterable[{item_type}] | None",
        )
    may_be_unset = message_type is not None or field.has_presence
    return item_type, f"{item_type} | None" if may_be_unset else item_type


def _item_type(field: FieldDescriptor, names: Mapping[str, str]) -> str:
    if field.message_type is not None:
        return names.get(field.message_type.full_name, "Message")
    return _scalar_type(field)


def _scalar_type(field: FieldDescriptor) -> str:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return "bytes"
    return _SCALARS.get(field.cpp_type, "int")
