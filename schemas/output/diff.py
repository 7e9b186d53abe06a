"""Comparison of two versions of a schema document: changes, and whether they break clients. Pure.

A change of the input is breaking if a request that was valid may be rejected. A change of the
output is breaking if a response may lack something that it had.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.model.document import DocumentPath, service_from_document
from schemas.validation.compile import compile_input

_LOWER_BOUND_KEYWORDS = (
    "minimum",
    "exclusiveMinimum",
    "minLength",
    "minItems",
    "minProperties",
    "minB64DLen",
)
_UPPER_BOUND_KEYWORDS = (
    "maximum",
    "exclusiveMaximum",
    "maxLength",
    "maxItems",
    "maxProperties",
    "maxB64DLen",
)
_ANNOTATION_KEYWORDS = (
    "title", "description", "comment", "$comment", "examples", "$schema",
    "contentEncoding", "contentMediaType", "contentSchema",
)  # fmt: skip
_ABSENT = object()  # in the place of the value of a keyword; null may be a value
_TRANSFORM_KEYWORDS = (
    "default",
    "defaultVal",
    "constVal",
    "replaceKey",
    "formatVal",
    "setVal",
    "delete",
)


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """One difference between two documents.

    `path` is its location, `message` describes it, and `breaking` states whether it may break a
    client of the old version.
    """

    path: DocumentPath
    message: str
    breaking: bool

    def __str__(self) -> str:
        label = "breaking" if self.breaking else "compatible"
        return f"{label:<10}  {'.'.join(map(str, self.path))}: {self.message}"


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[SchemaChange]:
    """Return the differences between the documents `old` and `new`, breaking ones first.

    Raises DocumentError if one of them is not a valid schema document.
    """
    before, after = service_from_document(old), service_from_document(new)
    for service in (before, after):
        compile_input(service.input)  # reports what is no schema
    changes = list(_compare_meta(old["meta"], new["meta"]))
    changes += _compare_streams(before.inputs, after.inputs, "input")
    changes += _compare_streams(before.accepts, after.accepts, "accept")
    if before.nicks != after.nicks and not any(change.path[0] == "meta" for change in changes):
        message = "its streams belong to other parts of it"
        changes.append(SchemaChange(("meta", "service"), message, breaking=True))
    changes += _compare_input(before.input, after.input, ("schemainput",))
    changes += _compare_output(before.output, after.output, ("schemaoutput",))
    return sorted(changes, key=lambda change: not change.breaking)


def _compare_meta(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[SchemaChange]:
    nicks = {*_as_list(old.get("service")), *_as_list(new.get("service"))}
    for key in sorted({*old, *new} - nicks):
        if old.get(key) == new.get(key):
            continue
        path = ("meta", key)
        match key:
            case "serviceId" | "service" | "route" | "hosts":
                yield SchemaChange(path, f"{old.get(key)!r} became {new.get(key)!r}", breaking=True)
            case "codeMap":
                yield SchemaChange(path, "codes have other statuses", breaking=True)
            case _:
                yield SchemaChange(
                    path, f"{old.get(key)!r} became {new.get(key)!r}", breaking=False
                )


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _compare_streams(
    old: Mapping[str, Any], new: Mapping[str, Any], direction: str
) -> Iterator[SchemaChange]:
    for name in sorted({*old, *new}):
        path = ("meta", direction, name)
        if name not in new:
            yield SchemaChange(path, "is gone", breaking=True)
        elif name not in old:
            yield SchemaChange(path, "is new", breaking=False)
        elif old[name] != new[name]:
            yield SchemaChange(path, f"{old[name].key} became {new[name].key}", breaking=True)


def _type_names(type_value: Any) -> set[str]:
    names = type_value.split("|") if isinstance(type_value, str) else _as_list(type_value)
    return {"boolean" if name == "bool" else str(name) for name in names}


def _compare_input(old: Any, new: Any, path: DocumentPath) -> Iterator[SchemaChange]:
    """Compare input schemas: a change is breaking if `new` may reject what `old` accepts."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        if old != new:
            yield SchemaChange(path, "is another schema", breaking=True)
        return
    yield from _compare_input_members(old, new, path)
    for keyword in sorted({*old, *new} - {"properties", "required", "additionalProperties"}):
        old_value, new_value = old.get(keyword, _ABSENT), new.get(keyword, _ABSENT)
        if keyword == "contentSchema" and isinstance(old_value, Mapping) and keyword in new:
            yield from _compare_input(old_value, new_value, (*path, keyword))
        elif old_value != new_value and keyword not in _ANNOTATION_KEYWORDS:
            yield from _compare_keyword(keyword, old_value, new_value, (*path, keyword))
    if "items" in old and "items" in new:
        yield from _compare_input(old["items"], new["items"], (*path, "items"))


def _compare_input_members(
    old: Mapping[str, Any], new: Mapping[str, Any], path: DocumentPath
) -> Iterator[SchemaChange]:
    before, after = old.get("properties", {}), new.get("properties", {})
    old_required, new_required = set(old.get("required", ())), set(new.get("required", ()))
    new_is_open = new.get("additionalProperties", "properties" not in new) is not False
    for name in sorted({*before, *after}):
        member_path = (*path, "properties", name)
        if name not in after:
            yield SchemaChange(member_path, "is not known any more", breaking=not new_is_open)
        elif name not in before:
            message = "is new and required" if name in new_required else "is new"
            yield SchemaChange(member_path, message, breaking=name in new_required)
        else:
            if (name in new_required) != (name in old_required):
                message = "is required now" if name in new_required else "is not required any more"
                yield SchemaChange(member_path, message, breaking=name in new_required)
            yield from _compare_input(before[name], after[name], member_path)
    old_others = old.get("additionalProperties", "properties" not in old)
    new_others = new.get("additionalProperties", "properties" not in new)
    if isinstance(old_others, Mapping) and isinstance(new_others, Mapping):
        yield from _compare_input(old_others, new_others, (*path, "additionalProperties"))
    elif isinstance(old_others, Mapping) and new_is_open:
        message = "undeclared members may have any value now"
        yield SchemaChange((*path, "additionalProperties"), message, breaking=False)
    elif isinstance(new_others, Mapping) and old_others is not False:
        message = "undeclared members have rules now"
        yield SchemaChange((*path, "additionalProperties"), message, breaking=True)
    old_is_open = old_others is not False
    if old_is_open != new_is_open:
        message = "members that are not declared are taken now"
        yield SchemaChange(
            path, message if new_is_open else "only declared members now", breaking=not new_is_open
        )


def _compare_keyword(
    keyword: str, old: Any, new: Any, path: DocumentPath
) -> Iterator[SchemaChange]:
    is_new, is_gone = old is _ABSENT, new is _ABSENT
    if keyword == "items" and not is_new and not is_gone:
        return
    summary = f"{'nothing' if is_new else repr(old)} became {new!r}"
    if keyword in _TRANSFORM_KEYWORDS:
        message = "is gone" if is_gone else f"{summary}: a request is forwarded differently"
        yield SchemaChange(path, message, breaking=keyword in ("replaceKey", "delete"))
    elif is_gone:
        yield SchemaChange(path, "is not asked any more", breaking=False)
    elif is_new:
        yield SchemaChange(path, f"{new!r} is asked now", breaking=True)
    elif keyword == "type":
        yield SchemaChange(
            path, summary, breaking=not _type_names(old) <= _type_names(new) | _wider_types(new)
        )
    elif keyword in ("enum", "enums"):
        removed_values = [
            value for value in _as_list(old) if str(value) not in map(str, _as_list(new))
        ]
        message = (
            f"{', '.join(map(str, removed_values))} is not among them any more"
            if removed_values
            else "has more"
        )
        yield SchemaChange(path, message, breaking=bool(removed_values))
    elif keyword in _LOWER_BOUND_KEYWORDS:
        yield SchemaChange(path, summary, breaking=new > old)
    elif keyword in _UPPER_BOUND_KEYWORDS:
        yield SchemaChange(path, summary, breaking=new < old)
    else:
        yield SchemaChange(path, f"{summary}: it may accept less", breaking=True)


def _wider_types(type_value: Any) -> set[str]:
    return {"integer"} if "number" in _type_names(type_value) else set()


def _compare_output(old: Any, new: Any, path: DocumentPath) -> Iterator[SchemaChange]:
    """Compare output schemas: a change is breaking if a response may lack what it had."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        if old != new:
            yield SchemaChange(path, "is another schema", breaking=True)
        return
    before, after = old.get("properties", {}), new.get("properties", {})
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):  # it is not compiled
        if before != after:
            yield SchemaChange((*path, "properties"), "is another schema", breaking=True)
        before = after = {}
    for name in sorted({*before, *after}):
        member_path = (*path, "properties", name)
        if name not in after:
            yield SchemaChange(member_path, "is not given any more", breaking=True)
        elif name not in before:
            yield SchemaChange(member_path, "is new", breaking=False)
        else:
            yield from _compare_output(before[name], after[name], member_path)
    for keyword in sorted({*old, *new} - {"properties", *_ANNOTATION_KEYWORDS}):
        old_value, new_value = old.get(keyword, _ABSENT), new.get(keyword, _ABSENT)
        if old_value != new_value:
            yield from _compare_output_keyword(keyword, old_value, new_value, (*path, keyword))


def _compare_output_keyword(
    keyword: str, old: Any, new: Any, path: DocumentPath
) -> Iterator[SchemaChange]:
    is_new, is_gone = old is _ABSENT, new is _ABSENT
    if keyword == "items" and not is_new and not is_gone:
        yield from _compare_output(old, new, path)
    elif is_new:
        yield SchemaChange(path, f"{new!r} is promised now", breaking=False)
    elif is_gone:
        yield SchemaChange(path, "is not promised any more", breaking=True)
    elif keyword == "type":
        is_narrower = _type_names(new) <= _type_names(old) | _wider_types(old)
        yield SchemaChange(path, f"{old!r} became {new!r}", breaking=not is_narrower)
    else:
        yield SchemaChange(path, f"{old!r} became {new!r}", breaking=True)
